// What may be named anew: what the overlay's DNS can say. Records that have other names already keep them.
import { isName } from '../state/kinds.ts'
import type { ClientView } from '../state/views.ts'
import { isDomainName } from './dns/names.ts'
import { ServiceError } from './service-error.ts'

/** Why no mesh, controller or client is to be named so from now on, in words; undefined when one may be. */
export function newNameProblem(name: string): string | undefined {
  const shown = name.slice(0, 80)
  if (!isName(name)) return `"${shown}" is no name; use a-z, 0-9, "-", "." and "_"`
  if (!isDomainName(name))
    return `"${shown}" is no name that DNS can carry; write no dot at its end and no two in a row`
}

/** Why no client is to have the name of this one, in words. */
export function nameTaken({ name, value }: ClientView): string {
  if (name === value.name)
    return `a client named ${name} exists already; \`overmesh client pack ${name}\` gives its pack; or choose another name, or revoke it first`
  return `client ${name} (${value.address}) is named ${value.name} as well, and would be shown as ${value.name} from then on; choose another name, or revoke that one first: \`overmesh client revoke ${name}\``
}

/** @throws ServiceError invalid */
export function checkNewName(name: string): void {
  const problem = newNameProblem(name)
  if (problem) throw new ServiceError('invalid', problem)
}
