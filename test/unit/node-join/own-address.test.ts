// A controller whose address is leased to another.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Clients } from '../../../node/clients.ts'
import { Controller } from '../../../node/controller.ts'
import { Home } from '../../../node/home.ts'
import type { Replica } from '../../../state/replica.ts'
import { startInviter } from './world.ts'

const REQUEST = { listen: ['127.0.0.1:0'], meshListen: '127.0.0.1:0' }

async function exchange(a: Replica, b: Replica): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ]) {
    for (let more = true; more; ) {
      const delta = from.missingFor(to.vector())!
      await to.absorb(delta)
      more = delta.more
    }
  }
}

async function startOnce(t: TestContext, dataDir: string) {
  const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  t.after(() => controller.stop())
  await controller.start()
  const status = await controller.service.status()
  await controller.stop()
  return status
}

test('a controller that has lost its address takes another when it starts, and keeps that', async t => {
  const { join, token, home: alpha } = await startInviter(t)
  const { dataDir, address } = await join(await token(), REQUEST)
  // As of somebody who leased it earlier, in another half of the mesh.
  await alpha.replica.write([{ kind: 'lease', id: address, value: null }])
  const client = await new Clients(alpha).add({ name: 'web', ip: address })
  const beta = await Home.open(dataDir)
  await exchange(alpha.replica, beta.replica)
  const [conflict] = beta.views.conflicts()
  assert.match(conflict.message, /is held by web; stop controller beta and start it again .*takes another/)
  await beta.close()

  const { controller, conflicts, warnings } = await startOnce(t, dataDir)
  assert.notEqual(controller.address, address)
  assert.deepEqual([conflicts, warnings], [[], []])
  assert.equal((await startOnce(t, dataDir)).controller.address, controller.address)
  const again = await Home.open(dataDir)
  await exchange(again.replica, alpha.replica)
  await again.close()
  assert.deepEqual(alpha.views.conflicts(), [])
  assert.equal(alpha.replica.get('lease', controller.address)?.holder, beta.id)
  assert.equal(alpha.views.credential(client.value.serial).usable, true)
})

test('a controller keeps an address that nobody has', async t => {
  const { join, token, home: alpha } = await startInviter(t)
  const { dataDir, address } = await join(await token(), REQUEST)
  await alpha.replica.write([{ kind: 'lease', id: address, value: null }])
  const beta = await Home.open(dataDir)
  await exchange(alpha.replica, beta.replica)
  await beta.close()
  const { controller, conflicts } = await startOnce(t, dataDir)
  assert.equal(controller.address, address)
  assert.deepEqual(conflicts, [])
})
