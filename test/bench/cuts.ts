// How long it takes after a cut is healed until all records are equal, and until traffic has found a way round a cut.
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import { sleep, until } from '../lab/lab.ts'
import { Mesh } from '../lab/mesh.ts'
import { Ping } from '../lab/ping.ts'
import { withLab } from './with-lab.ts'

export interface CutTimes {
  /** Seconds from the healing of a partition to equal hashes everywhere. */
  healed: number[]
  /** Seconds without traffic when the direct way between two controllers is cut and one through a third is left. */
  detour: number[]
}

export function measureCuts(rounds: number): Promise<CutTimes> {
  return withLab('bench-cuts', async lab => {
    const mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    const [alpha, beta, gamma] = mesh.controllers
    const services = mesh.controllers.map(each => new RemoteController(apiSocketPath(each.dataDir)))
    const [here, there] = [await mesh.connect('here', ['alpha']), await mesh.connect('there', ['beta'])]
    const times: CutTimes = { healed: [], detour: [] }
    const areEqual = async () =>
      new Set(await Promise.all(services.map(async each => (await each.status()).stateHash))).size === 1
    for (let round = 0; round < rounds; round++) {
      await mesh.split([alpha, beta], [gamma])
      await sleep(4000)
      for (const [side, service] of [services[0], services[2]].entries()) {
        for (let i = 0; i < 5; i++) await service.addClient({ name: `cut-${round}-${side}-${i}` })
      }
      const healedAt = performance.now()
      await mesh.heal()
      await until('equal', areEqual, 60, 0.02)
      times.healed.push((performance.now() - healedAt) / 1000)
      await mesh.whole(30)

      const ping = await Ping.start(here.host, there.address, { interval: 0.02 })
      await ping.answered()
      // In turn both directions and only one.
      if (round % 2 === 0) await mesh.split([alpha], [beta])
      else await beta.host.refuseFrom(alpha.host)
      await sleep(300)
      await ping.answered(30)
      await sleep(3000)
      times.detour.push((await ping.stop()).longestGap)
      await mesh.heal()
      await mesh.whole(30)
    }
    return times
  })
}
