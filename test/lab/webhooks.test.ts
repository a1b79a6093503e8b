// A webhook is told of what happens anywhere in the mesh: once, by one controller, whoever dies, and late rather than never.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Webhook } from '../../node/service-webhooks.ts'
import type { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { until } from './lab.ts'
import { Mesh } from './mesh.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

interface Told {
  id: string
  type: string
  data: { mesh: string; controller: string; event: { client?: string; controller?: string } }
}

const PORT = 8099
/** Takes everything, and says so in a line of JSON each. */
const RECEIVER = `require('http').createServer((request, response) => {
  let body = ''
  request.on('data', part => { body += part }).on('end', () => {
    console.log(JSON.stringify({ id: request.headers['webhook-id'], ...JSON.parse(body) }))
    response.writeHead(204).end()
  })
}).listen(${PORT}, () => console.log('listening'))`

describe('a webhook', () => {
  let mesh: Mesh
  let alpha: Controller
  let beta: Controller
  let gamma: Controller
  let office: Host
  const lives: LabProcess[] = []

  useLab('webhooks', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    ;[alpha, beta, gamma] = mesh.controllers
    office = await lab.host('office')
    await receive()
  })

  async function receive(): Promise<void> {
    const receiver = await office.spawn(`receiver ${lives.length}`, [process.execPath, '-e', RECEIVER])
    lives.push(receiver)
    await receiver.waitFor(/^listening$/m)
  }
  const told = (type: string): Told[] =>
    lives
      .flatMap(({ output }) => output.split('\n').filter(line => line.startsWith('{')))
      .map(line => JSON.parse(line) as Told)
      .filter(each => each.type === type)
  const once = (type: string, seconds = 10) => until(type, () => told(type).length > 0, seconds)
  const delivery = async (controller: Controller) =>
    (await controller.json<Webhook[]>('webhook', 'list'))[0].delivery!

  test('hears of a client from the controller that has it', async () => {
    const url = `http://${office.ip4}:${PORT}/`
    await alpha.cli(
      ...['webhook', 'add', 'office', '--url', url, '--event', 'session-*', '--event', 'controller-*'],
    )
    await mesh.whole()
    assert.match(await beta.cli('webhook', 'test', 'office'), /took the test: 204/)
    const { openvpn } = await mesh.connect('web', ['beta', 'alpha'])
    await once('session-up')
    await openvpn.process.stop()
    await once('session-down', 15)
    for (const type of ['session-up', 'session-down']) {
      const [{ data }] = told(type)
      assert.deepEqual([data.mesh, data.controller, data.event.client], ['lab', 'beta', 'web'])
    }
  })

  test('that was away is told later that a controller died, by one of those that live', async () => {
    await lives[0].stop()
    await gamma.process.kill()
    const living = [alpha, beta]
    await until('it was tried', async () =>
      (await Promise.all(living.map(delivery))).some(({ attempts, waiting }) => waiting > 0 && attempts > 2),
    )
    const [teller, other] = (await delivery(alpha)).waiting > 0 ? living : living.toReversed()
    assert.match((await delivery(teller)).problem!, /did not answer \(ECONNREFUSED\)/)
    assert.equal((await delivery(other)).waiting, 0)
    const refused = await teller.attempt(['webhook', 'test', 'office'])
    assert.deepEqual([refused.code, /did not answer/.test(refused.stderr)], [1, true])

    await receive()
    // Between two attempts it is twice as long each time.
    await once('controller-down', 40)
    await gamma.up()
    await once('controller-up')
    for (const type of ['controller-down', 'controller-up']) {
      const [{ data }] = told(type)
      assert.deepEqual([data.controller, data.event.controller], [teller.name, 'gamma'], type)
    }
    await until('nothing waits', async () => (await delivery(teller)).waiting === 0)
    for (const type of ['session-up', 'session-down', 'controller-down', 'controller-up'])
      assert.equal(told(type).length, 1, type)
  })
})
