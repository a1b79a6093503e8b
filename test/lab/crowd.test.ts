// Two thousand clients on one controller: they get in, stay, and are no burden to the others.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import { Controller, NODE } from './controller.ts'
import { sleep, until } from './lab.ts'
import { OpenvpnClient, writePack } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

const PROBES = 2000
/** On their way in at once: all share the machine with the controller, and their pings must not be late for that. */
const AT_ONCE = 100
/** Longer than any timer of a session but that of renegotiation: pings, restarts, half-open handshakes. */
const STAY_SECONDS = 25

describe(`${PROBES} clients`, () => {
  let controller: Controller
  let list: string
  let probes: LabProcess
  const use = useLab('crowd', async lab => {
    controller = await Controller.start(await lab.host('hub'), { upArgs: ['--log-level', 'warn'] })
    const api = new RemoteController(apiSocketPath(controller.dataDir))
    const paths: string[] = []
    for (let i = 0; i < PROBES; i++) {
      const { content } = await api.addClient({ name: `p${i}` })
      paths.push(writePack(controller.host, `p${i}.ovpn`, Buffer.from(content).toString('utf8')))
    }
    list = join(lab.directory, 'packs')
    writeFileSync(list, paths.join('\n'))
  })

  test('connect, each to its own address', { timeout: 180_000 }, async () => {
    const host = await use.lab.host('probes')
    probes = await host.spawn('probes', [NODE, join(import.meta.dirname, 'probes.ts'), list, String(AT_ONCE)])
    await probes.waitFor(new RegExp(`^connected ${PROBES}$`, 'm'), 120)
    const sessions = await controller.sessions()
    assert.equal(sessions.length, PROBES)
    assert.equal(new Set(sessions.map(session => session.address)).size, PROBES)
  })

  test('stay, while a stock client among them loses no ping', async () => {
    const mark = probes.mark()
    const stock = await OpenvpnClient.connect(
      await use.lab.host('stock'),
      await controller.addClient('stock'),
    )
    const ping = await Ping.start(stock.host, '10.77.0.1', { interval: 0.05 })
    await sleep(STAY_SECONDS * 1000)
    const report = await ping.stop()
    assert.equal(report.lost, 0, `${report.lost} of ${report.sent} lost`)
    assert.equal(probes.output.slice(mark), '')
    assert.equal((await controller.sessions()).length, PROBES + 1)
  })

  test('come back when the controller was gone', { timeout: 180_000 }, async () => {
    const mark = probes.mark()
    await controller.process.kill()
    await controller.up()
    await probes.waitFor(new RegExp(`^connected ${PROBES}$`, 'm'), 150, mark)
    await probes.stop()
    await until('all but the stock client have said good-bye', async () => {
      return (await controller.sessions()).length <= 1
    })
  })
})
