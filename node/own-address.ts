// The address of this controller in the overlay. Two that join by different controllers at once may have chosen the same one,
// and it belongs to the first.
import { formatIpv4 } from '../state/address.ts'
import { nextAddress } from '../state/allocator.ts'
import { restoredNotice } from './backup/settling.ts'
import type { Home } from './home.ts'
import { ServiceError } from './service-error.ts'

/**
 * Leases another address to this controller when its own is another's; nothing may use the address yet.
 * @returns the one it has now, when that is a new one
 * @throws ServiceError when none is free, StateError
 */
export async function settleAddress(home: Home): Promise<string | undefined> {
  const { replica, views, id } = home
  const isLost = () => views.isAdmitted(id) && replica.get('lease', home.controller.address)?.holder !== id
  // Which addresses were handed out since a copy was made is not known.
  if (!isLost() || restoredNotice(home) !== undefined) return undefined
  const before = home.controller.address
  await replica.write(() => {
    if (!isLost()) return []
    const { controller } = home
    const address = replica.has('lease', controller.address) ? another(home) : controller.address
    return [
      { kind: 'controller', id, value: { ...controller, address } },
      { kind: 'lease', id: address, value: { holder: id, holderKind: 'controller' } },
    ]
  })
  const { address } = home.controller
  return address === before ? undefined : address
}

function another({ views, id }: Home): string {
  const allocation = nextAddress(views.addresses()!, id)
  if (!allocation.ok) throw new ServiceError('refused', allocation.message)
  return formatIpv4(allocation.address)
}
