// Probes routes on a host of the lab, and says which fail. `node probing-end.ts JSON`.

import { RouteProbing } from '../../node/gateway/probing.ts'
import { parseIpv4 } from '../../node/net/ip.ts'
import { parseAddress6 } from '../../state/address6.ts'

export interface ProbingEndInit {
  routes: { id: string; address: string; source?: string }[]
}

const addressOf = (text: string) => parseIpv4(text) ?? parseAddress6(text)!
const { routes } = JSON.parse(process.argv[2]) as ProbingEndInit
const probing = new RouteProbing({ sendByPort: () => false })
probing.onChange = () =>
  console.log(`failing ${JSON.stringify([...probing.failing()].sort())} at ${Date.now()}`)
probing.set(
  routes.map(({ id, address, source }) => ({
    id,
    address: addressOf(address),
    from: source === undefined ? ('kernel' as const) : { source: addressOf(source) },
  })),
)
const alive = setInterval(() => {
  for (const problem of probing.problems()) console.log(`problem ${problem}`)
}, 200)
console.log('probing')
process.once('SIGTERM', () => {
  clearInterval(alive)
  probing.stop()
})
