// A controller that joins a mesh with many records: how long that takes, what it costs, and what the two say afterwards.
import { randomBytes } from 'node:crypto'
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import { Home } from '../../node/home.ts'
import { newClientId } from '../../state/kinds.ts'
import type { Op } from '../../state/writing.ts'
import { Controller } from '../lab/controller.ts'
import { sleep, until } from '../lab/lab.ts'
import { withLab } from './with-lab.ts'

export interface FullJoin {
  records: number
  /** Seconds of the whole command. */
  joinSeconds: number
  /** Seconds from the start of the process to `ready`. */
  startSeconds: number
  /** MiB of the process once it is ready. */
  residentMebibytes: number
  /** ms from the answer to a write to its being known on the other. */
  newRecordMs: number[]
}

const BATCH = 1000

export function measureFullJoin(records: number): Promise<FullJoin> {
  return withLab('bench-join', async lab => {
    const alpha = await Controller.init(await lab.host('alpha'), { subnet: '10.0.0.0/8' })
    await fill(alpha.dataDir, records)
    await alpha.up(60)
    const beta0 = performance.now()
    const beta = await Controller.join(await lab.host('beta'), await alpha.invite())
    const joinSeconds = (performance.now() - beta0) / 1000
    const start = performance.now()
    await beta.up(60)
    const startSeconds = (performance.now() - start) / 1000
    const [here, there] = [alpha, beta].map(each => new RemoteController(apiSocketPath(each.dataDir)))
    await until('equal', async () => (await here.status()).stateHash === (await there.status()).stateHash, 60)
    const residentMebibytes = beta.process.residentBytes() / 2 ** 20
    const newRecordMs: number[] = []
    for (let round = 0; round < 20; round++) {
      await here.addClient({ name: `new-${round}` })
      const added = performance.now()
      await until('known', () => there.client(`new-${round}`).then(Boolean, () => false), 10, 0.002)
      newRecordMs.push(performance.now() - added)
      await sleep(50)
    }
    return { records, joinSeconds, startSeconds, residentMebibytes, newRecordMs }
  })
}

/** Clients and their leases, as many as make up so many records, written without certificates. */
export async function fill(dataDir: string, records: number): Promise<void> {
  const home = await Home.open(dataDir)
  try {
    for (let done = 0; done < records; done += BATCH) {
      const ops: Op[] = []
      for (let i = done; i < Math.min(records, done + BATCH); i += 2) {
        const id = newClientId(randomBytes)
        const address = `10.${1 + (i >> 17)}.${(i >> 9) & 255}.${(i >> 1) & 255}`
        ops.push(
          {
            kind: 'client',
            id,
            value: {
              name: `filler-${i}`,
              address,
              subnets: [],
              tags: { site: `site-${i % 100}` },
              enabled: true,
              serial: randomBytes(16).toString('hex').replace(/^0+/, '1') as never,
              fingerprint: randomBytes(32).toString('hex'),
              issuer: home.id,
              createdAt: Date.now(),
              expiresAt: Date.now() + 1e11,
            },
          },
          { kind: 'lease', id: address, value: { holder: id, holderKind: 'client' } },
        )
      }
      await home.replica.write(ops)
    }
  } finally {
    await home.close()
  }
}
