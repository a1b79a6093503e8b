// What may be named anew: what the overlay's DNS can say. Records that have other names already keep them.
import { isName } from '../state/kinds.ts'
import { isDomainName } from './dns/names.ts'
import { ServiceError } from './service-error.ts'

/** Why no mesh, controller or client is to be named so from now on, in words; undefined when one may be. */
export function newNameProblem(name: string): string | undefined {
  const shown = name.slice(0, 80)
  if (!isName(name)) return `"${shown}" is no name; use a-z, 0-9, "-", "." and "_"`
  if (!isDomainName(name))
    return `"${shown}" is no name that DNS can carry; write no dot at its end and no two in a row`
}

/** @throws ServiceError invalid */
export function checkNewName(name: string): void {
  const problem = newNameProblem(name)
  if (problem) throw new ServiceError('invalid', problem)
}
