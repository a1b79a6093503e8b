// One end of a backbone link on a host of the lab: a switch with a TUN and nothing but the link, its keys derived from a
// word that both ends know. Says when the link goes up or down and when its MTU changes. `node link-end.ts JSON`.
import { createHash } from 'node:crypto'
import { Switch } from '../../node/switch/switch.ts'
import { LINK_IDS } from '../../node/vpn/peer-ids.ts'
import type { Cidr6 } from '../../state/address6.ts'

export interface LinkEndInit {
  /** 0 or 1. */
  end: number
  secret: string
  /** Underlay addresses; both ends use the same UDP port. */
  here: string
  there: string
  /** Overlay addresses, u32. */
  address: number
  other: number
  /** Further prefixes, to the other end or to this host's kernel. */
  routes?: { address: number; length: number; to: 'link' | 'tun' }[]
  /** IPv6 of the overlay, and further prefixes of that. */
  subnet6?: Cidr6
  routes6?: (Cidr6 & { to: 'link' | 'tun' })[]
}

const PORT = 1194
const SUBNET = { address: 0x0a4d0000, length: 16 }
const init = JSON.parse(process.argv[2]) as LinkEndInit
const { end, secret, here, there, address, other, routes = [], subnet6, routes6 = [] } = init

function direction(sender: number): { cipher: Uint8Array; hmac: Uint8Array } {
  const derive = (what: string): Uint8Array =>
    new Uint8Array(createHash('sha512').update(`${secret} ${what} of ${sender}`).digest())
  return { cipher: derive('cipher'), hmac: derive('hmac') }
}

const running = await Switch.start({
  listen: [{ host: here, port: PORT }],
  gateway: SUBNET.address + 1,
  address,
  subnet: SUBNET,
  subnet6,
  tun: { name: 'overlay' },
  mtu: 1420,
})
const peerId = LINK_IDS.first + end
const remotePeerId = LINK_IDS.first + 1 - end
running.onLink = (_, up) => console.log(`${up ? 'up' : 'down'} at ${Date.now()}`)
running.onError = error => console.log(`error: ${error.message}`)
running.openLink({
  peerId,
  remotePeerId,
  path: { socket: 0, remote: there, port: PORT, local: here, ifindex: 0 },
  mtu: 1420,
})
running.setKey(peerId, 0, {
  cipher: 'AES-256-GCM',
  format: 'aead',
  send: direction(end),
  receive: direction(1 - end),
})
running.useKey(peerId, 0)
const hop = (to: 'link' | 'tun') => (to === 'link' ? peerId : ('tun' as const))
running.setRoutes(
  [
    { address, length: 32, peerId: 'tun' },
    { address: other, length: 32, peerId },
    ...routes.map(({ to, ...prefix }) => ({ ...prefix, peerId: hop(to) })),
  ],
  routes6.map(({ to, ...prefix }) => ({ ...prefix, peerId: hop(to) })),
)
let mtu = 0
const watch = setInterval(() => {
  const stats = running.linkStats(peerId)
  if (stats === undefined || stats.mtu === mtu) return
  mtu = stats.mtu
  console.log(`mtu ${mtu} at ${Date.now()}`)
}, 10)
process.once('SIGTERM', async () => {
  clearInterval(watch)
  await running.stop()
})
