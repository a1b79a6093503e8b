// The attachments of a controller with the IKE daemon that this machine can have.
import { Carriage, type CarriageInit } from './carriage.ts'
import { NoEngine } from './no-engine.ts'
import { StrongSwan } from './strongswan/strongswan.ts'

/** strongSwan where this machine can have it, behind the overlay's interface. @param tun the interface's name; null without one */
export function startCarriage(init: Omit<CarriageInit, 'engine'>, tun: string | null): Carriage {
  const { home, logger } = init
  const engine =
    tun === null
      ? new NoEngine('attachments need a TUN interface, and so root; see `overmesh doctor`')
      : new StrongSwan({ directory: home.directory.ipsec, logger, ignoreInterfaces: [tun] })
  return new Carriage({ ...init, engine })
}
