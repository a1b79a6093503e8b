// A controller's IKE daemon without the controller: takes tunnels and orders from a file as it changes, says on one line each what it
// hears, and stops on SIGTERM. `node engine-end.ts JSON`.
import { readFileSync } from 'node:fs'
import pino from 'pino'
import type { Tunnel } from '../../node/ipsec/engine.ts'
import { StrongSwan } from '../../node/ipsec/strongswan/strongswan.ts'

export interface EngineEndInit {
  directory: string
  /** Holds an EngineOrders in JSON. */
  file: string
}

/** The secret as text, where there are no certificates. */
export type EngineTunnel = Omit<Tunnel, 'authentication'> & {
  secret: string
  certificates?: Extract<Tunnel['authentication'], { method: 'certificate' }>
}

export interface EngineOrders {
  tunnels: EngineTunnel[]
  /** Done once for each number. */
  order?: { number: number; what: 'initiate' | 'terminate' | 'sas'; tunnel: string; timeoutMs: number }
}

const { directory, file } = JSON.parse(process.argv[2]) as EngineEndInit
const engine = new StrongSwan({ directory, logger: pino({ level: 'debug' }) })
const say = (line: string): void => console.log(`engine: ${line} at ${Date.now()}`)
engine.onState = () => say(`state ${engine.state} ${engine.esp} ${engine.device} ${engine.problem}`)
engine.onUp = tunnel => say(`up ${tunnel}`)
engine.onDown = tunnel => say(`down ${tunnel}`)
engine.onProblem = (tunnel, problem) => say(`problem ${tunnel} ${problem}`)

let before = ''
let lastOrder = 0

async function look(): Promise<void> {
  const text = readFileSync(file, 'utf8')
  if (text === before) return
  const { tunnels, order } = JSON.parse(text) as EngineOrders
  before = text
  await engine.set(
    tunnels.map(({ secret, certificates, ...tunnel }) => ({
      ...tunnel,
      localId: tunnel.localId,
      remoteId: tunnel.remoteId,
      authentication: certificates ?? { method: 'psk', secret: Buffer.from(secret) },
    })),
  )
  say('set')
  if (order === undefined || order.number === lastOrder) return
  lastOrder = order.number
  const { what, tunnel, timeoutMs } = order
  try {
    if (what === 'initiate') await engine.initiate(tunnel, timeoutMs)
    if (what === 'terminate') await engine.terminate(tunnel)
    say(`done ${order.number} ${what === 'sas' ? JSON.stringify(await engine.sas()) : 'well'}`)
  } catch (error) {
    say(`done ${order.number} ${error}`)
  }
}

await engine.start()
let looking = Promise.resolve()
const watch = setInterval(() => {
  looking = looking.then(look)
}, 50)
process.once('SIGTERM', async () => {
  clearInterval(watch)
  await engine.stop()
  say('stopped')
})
