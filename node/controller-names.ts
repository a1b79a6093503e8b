// Controllers as an operator names them.
import type { ControllerId } from '../state/kinds.ts'
import type { Home } from './home.ts'
import { ServiceError } from './service-error.ts'

/** Each once, in the order named. @throws ServiceError not-found */
export function controllerIds({ views }: Home, names: readonly string[]): ControllerId[] {
  const known = new Map(views.controllers().map(({ id, value }) => [value.name, id]))
  const ids = names.map(name => {
    const id = known.get(name)
    if (id) return id
    throw new ServiceError('not-found', `no controller is named ${name}; see \`overmesh controller list\``)
  })
  return [...new Set(ids)]
}
