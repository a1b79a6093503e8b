// PUSH_UPDATE: other options for a connection that is up. Source: OpenVPN 2.7 src/openvpn/options_parse.c (apply_push_options),
// push_util.c, options.c (update_option, remove_option).
//
// Of each kind of option the first in a message takes the place of all that there were; `-route` takes them away. Several
// messages that belong together are not sent: early versions let each replace what the one before had brought.
import { MAX_PUSH_OPTION, PUSH_BUNDLE } from './control-message.ts'

/**
 * What a client changes while it is connected. Not `dns`: OpenVPN 2.7 takes that, too, but calls its system's script neither for what is
 * new nor, when it ends, for what there was.
 */
const UPDATABLE: ReadonlySet<string> = new Set(['route', 'route-ipv6', 'dhcp-option'])
/** Says where to connect the next time: no reason to disturb a connection. */
const UNTOUCHED: ReadonlySet<string> = new Set(['setenv-safe'])

/** Whether a client that has `before` lacks something of `after`, or has too much. */
export function differs(before: readonly string[], after: readonly string[]): boolean {
  return told(before).join() !== told(after).join()
}

/** The message that makes `after` of `before`; undefined when no single one does. */
export function pushUpdate(before: readonly string[], after: readonly string[]): string | undefined {
  const rest = (options: readonly string[]) => told(options).filter(each => !UPDATABLE.has(kindOf(each)))
  if (rest(before).join() !== rest(after).join()) return undefined
  const changes: string[] = []
  for (const kind of UPDATABLE) {
    const [old, now] = [before, after].map(options => options.filter(each => kindOf(each) === kind))
    if (old.join() === now.join()) continue
    changes.push(...(now.length === 0 ? [`-${kind}`] : now))
  }
  if (changes.length === 0 || changes.some(each => each.length > MAX_PUSH_OPTION)) return undefined
  const text = ['PUSH_UPDATE', ...changes].join(',')
  return text.length <= PUSH_BUNDLE ? text : undefined
}

/** Whether `later` replaces all that `earlier` has brought, so that a client that takes it need not have taken that. */
export function supersedes(later: string, earlier: string): boolean {
  const kinds = kindsOf(later)
  return [...kindsOf(earlier)].every(kind => kinds.has(kind))
}

/** A client's options after a message, in no order that means anything; undefined when it asks for what cannot be changed. */
export function applyUpdate(options: readonly string[], changes: readonly string[]): string[] | undefined {
  let result = [...options]
  const replaced = new Set<string>()
  for (const change of changes) {
    const [, flags, option] = /^([-?]*)(.*)$/.exec(change)!
    const kind = kindOf(option)
    if (!UPDATABLE.has(kind)) {
      if (flags.includes('?')) continue
      return undefined
    }
    if (!replaced.has(kind)) result = result.filter(each => kindOf(each) !== kind)
    if (flags.includes('-')) continue
    replaced.add(kind)
    result.push(option)
  }
  return result
}

function told(options: readonly string[]): string[] {
  return options.filter(each => !UNTOUCHED.has(kindOf(each)))
}

/** What a message changes. */
function kindsOf(text: string): Set<string> {
  return new Set(
    text
      .split(',')
      .slice(1)
      .map(change => kindOf(change.replace(/^-/, ''))),
  )
}

function kindOf(option: string): string {
  return option.split(' ', 1)[0]
}
