// How fast a change made on one controller counts on another: a new credential, and its end.
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import { OVERMESH } from '../lab/controller.ts'
import { until } from '../lab/lab.ts'
import { Mesh } from '../lab/mesh.ts'
import { writePack } from '../lab/openvpn-client.ts'
import { withLab } from './with-lab.ts'

export interface ChangeTimes {
  /** ms from the answer of the controller that made it to its being known on the other. */
  known: number[]
  /** ms from the order to revoke to the end of the session on the other. */
  ended: number[]
}

/** Clients by `probe`, each added and revoked on one controller and connected to another. */
export function measureChanges(rounds: number): Promise<ChangeTimes> {
  return withLab('bench-changes', async lab => {
    const mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    const [alpha, , gamma] = mesh.controllers
    const [here, there] = [alpha, gamma].map(each => new RemoteController(apiSocketPath(each.dataDir)))
    const times: ChangeTimes = { known: [], ended: [] }
    const host = await lab.host('probe')
    for (let round = 0; round < rounds; round++) {
      const name = `client-${round}`
      const { content } = await here.addClient({ name, prefer: ['gamma'] })
      const added = performance.now()
      await until('known', () => there.client(name).then(Boolean, () => false), 10, 0.002)
      times.known.push(performance.now() - added)
      const pack = writePack(host, `${name}.ovpn`, Buffer.from(content).toString('utf8'))
      const probe = await host.spawn(`probe ${name}`, [...OVERMESH, 'probe', pack, '--seconds', '60'])
      await heardOf(there, 'session-up', name)
      const revoked = performance.now()
      const ended = heardOf(there, 'session-down', name)
      await here.revokeClient(name)
      times.ended.push((await ended) - revoked)
      await probe.kill()
    }
    return times
  })
}

/** Resolves when a controller tells of an event of a client; when that was, by this process's clock. */
async function heardOf(controller: RemoteController, type: string, client: string): Promise<number> {
  const over = new AbortController()
  let at = 0
  const timer = setTimeout(() => over.abort(), 20_000)
  await controller.feed(
    event => {
      if (event.type !== type || (event as { client?: string }).client !== client) return
      at = performance.now()
      over.abort()
    },
    { backlog: 20, signal: over.signal },
  )
  clearTimeout(timer)
  if (at === 0) throw new Error(`no ${type} of ${client} within 20 s`)
  return at
}
