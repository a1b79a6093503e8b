// Names of attachments: two halves of a split mesh may have given one name twice.
import type { Replica } from '../../state/replica.ts'

const ID_DIGITS = 4

/** By id. The first that was added has the name; any other has digits of its id behind it. */
export function attachmentNames(replica: Pick<Replica, 'all'>): Map<string, string> {
  const taken = new Set<string>()
  const all = [...replica.all('attachment')].sort(
    (a, b) => a.value.createdAt - b.value.createdAt || (a.id < b.id ? -1 : 1),
  )
  return new Map(
    all.map(({ id, value: { name } }) => {
      const shown = taken.has(name) ? `${name}~${id.slice(0, ID_DIGITS)}` : name
      taken.add(name)
      return [id, shown]
    }),
  )
}
