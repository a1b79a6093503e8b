// Domain names of the overlay: how the names of records are asked for (RFC 1035 section 2.3, RFC 2782's underscores allowed).

/** ICANN reserved it for private use in 2024 (SAC113): the root will never have it. */
const PRIVATE_TOP = 'internal'
const MAX_LABEL = 63
/** Characters of a name without its last dot. */
const MAX_NAME = 253

/** Whether DNS can carry it: labels of 1 to 63 characters, 253 in all. Names of older records may end in dots or have two in a row. */
export function isDomainName(text: string): boolean {
  return (
    text.length <= MAX_NAME && text.split('.').every(label => label.length > 0 && label.length <= MAX_LABEL)
  )
}

/** `prod.internal` for the mesh `prod`; undefined for a mesh whose name DNS cannot carry. */
export function meshDomain(mesh: string): string | undefined {
  const domain = `${mesh}.${PRIVATE_TOP}`
  return isDomainName(domain) ? domain : undefined
}

/**
 * A shown name as it is asked for. The mark of a client whose name an older one has, `~`, is no character of a host name and many
 * resolvers refuse it: `web~1a2b` is `web--1a2b`.
 */
export function spellName(shown: string): string {
  return shown.replace('~', '--')
}

/** The shown name that {@link spellName} may have been given; undefined when it is of no such form. */
export function unspellName(asked: string): string | undefined {
  const [, name, mark] = /^(.+)--([0-9a-f]{4}|[0-9a-f]{16})$/.exec(asked) ?? []
  return name === undefined ? undefined : `${name}~${mark}`
}
