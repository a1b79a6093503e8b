// A disk that takes no more while the controller runs.
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import type { ControllerService } from '../../../node/service.ts'
import { StateError } from '../../../state/errors.ts'
import { LevelStore } from '../../../state/level-store.ts'
import { newMesh, withService } from './home.ts'

test('a store that failed is in the status, the events, the log and the health', async t => {
  const logged: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) })
  const controller = await Controller.open({ dataDir: await newMesh(t), logger, tun: false })
  t.after(() => controller.stop())
  await controller.start()
  const { service } = controller
  assert.deepEqual(await service.health(), { alive: true, ready: true, problems: [] })
  const message = 'writing failed (No space left on device); look at the disk'
  t.mock.method(LevelStore.prototype, 'commit', async () => {
    throw new StateError('STORE_FAILED', message)
  })
  const isSaid = (text: unknown) => String(text).startsWith(`${message}; until then it takes no change`)
  for (let i = 0; i < 2; i++)
    await assert.rejects(service.addClient({ name: `c${i}` }), (error: Error) => error.message === message)
  const { alive, ready, problems } = await service.health()
  assert.deepEqual([alive, ready, problems.length], [true, false, 1])
  assert.ok(isSaid(problems[0]), problems[0])
  assert.ok((await service.status()).warnings.some(isSaid))
  const events = (await service.events(10)).filter(({ type }) => type === 'state-damage')
  assert.equal(events.length, 1)
  assert.ok(isSaid((events[0] as { message?: string }).message))
  assert.equal(logged.filter(line => isSaid(JSON.parse(line).msg)).length, 1)
})

const CHANGES: Record<string, (service: ControllerService) => Promise<unknown>> = {
  add: service => service.addClient({ name: 'fresh' }),
  rekey: service => service.rekeyClient('web'),
  import: service =>
    service.reconcile({ desired: { version: 1, mesh: 'prod', clients: { web: {}, fresh: {} } } }),
}

for (const [what, change] of Object.entries(CHANGES))
  for (const isKept of [true, false])
    test(`${what} that fails at a disk which has ${isKept ? 'all' : 'none'} of it: keys are those of the records`, async t => {
      const dataDir = await newMesh(t)
      const { commit } = LevelStore.prototype
      const before = await withService(
        dataDir,
        async service => (await service.addClient({ name: 'web' })).client,
      )
      await withService(dataDir, async service => {
        const failing = t.mock.method(
          LevelStore.prototype,
          'commit',
          async function (this: LevelStore, batch: never) {
            if (isKept) await commit.call(this, batch)
            throw new StateError('STORE_FAILED', 'writing failed (Input/output error)')
          },
        )
        await assert.rejects(change(service), /Input.output error/)
        failing.mock.restore()
      })
      await withService(dataDir, async service => {
        const clients = await service.clients()
        assert.equal(clients.length, isKept && what !== 'rekey' ? 2 : 1)
        assert.equal((await service.client('web')).serial === before.serial, !(isKept && what === 'rekey'))
        for (const { name } of clients) assert.ok((await service.packClient(name, 'ovpn')).content.length > 0)
        assert.deepEqual(
          (await readdir(join(dataDir, 'clients'))).sort(),
          clients.map(({ serial }) => `${serial}.json`).sort(),
        )
        assert.deepEqual(await readdir(join(dataDir, 'arriving')), [])
      })
    })
