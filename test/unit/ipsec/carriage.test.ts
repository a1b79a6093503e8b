// Attachments on a running controller, with an IKE daemon that only notes what it is told.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { Certificates } from '../../../node/certificates.ts'
import { EventLog } from '../../../node/events.ts'
import { Home } from '../../../node/home.ts'
import { Carriage, type PresentTerminator } from '../../../node/ipsec/carriage.ts'
import { candidates, RESTART_MS } from '../../../node/ipsec/election.ts'
import type { EngineState, IkeSa, IpsecEngine, Tunnel } from '../../../node/ipsec/engine.ts'
import { KNOWN_MS, PASSED_MS } from '../../../node/ipsec/handovers.ts'
import { LocalService } from '../../../node/local-service.ts'
import type { AddAttachment } from '../../../node/service-ipsec.ts'
import { MAX_TIME } from '../../../state/clock.ts'
import type { ControllerId } from '../../../state/kinds.ts'
import { newMesh } from '../controller/home.ts'
import { identity } from '../state/samples.ts'

const OTHER = identity(7).id
const SECRET = 'a pre-shared key that nobody guesses'

class FakeEngine implements IpsecEngine {
  state: EngineState = 'running'
  problem: string | undefined
  esp = 'user' as const
  device = 'ipsec0'
  refusedPackets = undefined
  onState = () => {}
  onUp: (id: string) => void = () => {}
  onDown: (id: string) => void = () => {}
  onProblem: (id: string, problem: string) => void = () => {}
  tunnels: readonly Tunnel[] = []
  readonly ended: string[] = []
  started = 0
  stopped = 0
  start = async () => void this.started++
  stop = async () => void this.stopped++
  isWelcoming = true
  set = async (tunnels: readonly Tunnel[], isWelcoming = true): Promise<void> => {
    this.tunnels = tunnels
    this.isWelcoming = isWelcoming
  }
  initiate = async () => {}
  terminate: (id: string) => Promise<void> = async id => void this.ended.push(id)
  sas = async (): Promise<IkeSa[]> => []
}

/** A controller of a mesh; another is there as the test says. */
async function bench(t: TestContext) {
  const home = await Home.open(await newMesh(t))
  const events = new EventLog({ now: Date.now })
  const service = new LocalService({ home, certificates: await Certificates.open(home), events })
  const engine = new FakeEngine()
  const live = { others: [] as PresentTerminator[], draining: false, now: 0 }
  const carriage = new Carriage({
    ...{ home, engine, events, logger: pino({ level: 'silent' }) },
    credentials: () => ({ certificate: '', chain: [], key: '' }),
    others: () => live.others,
    isDraining: () => live.draining,
    ready: async () => {},
    ask: async () => undefined,
    now: () => live.now,
  })
  t.after(async () => {
    await carriage.stop()
    await home.close()
  })
  const add = async (change: Partial<AddAttachment> = {}) => {
    await service.addAttachment({
      ...{ name: 'paris', remote: '198.51.100.7', secret: Buffer.from(SECRET).toString('base64') },
      ...{ localSubnets: ['10.77.0.0/24'], remoteSubnets: ['192.168.20.0/24'] },
      ...change,
    })
    await review()
    return home.replica.all('attachment')[Symbol.iterator]().next().value!.id
  }
  const review = async () => {
    carriage.review()
    await new Promise(resolve => setImmediate(resolve))
  }
  const up = async (id: string) => {
    engine.onUp(id)
    await review()
  }
  const other = (change: Partial<PresentTerminator> = {}): PresentTerminator => ({
    ...{ id: OTHER, draining: false, ipsec: true, attachments: [] },
    ...change,
  })
  const types = () => events.recent().map(({ type }) => type)
  return { home, service, engine, live, carriage, add, review, up, other, types }
}

test('the daemon is started once there is something for it to do', async t => {
  const { engine, add, review } = await bench(t)
  await review()
  assert.equal(engine.started, 0)
  await add()
  assert.equal(engine.started, 1)
  assert.equal(
    Buffer.from((engine.tunnels[0].authentication as { secret: Uint8Array }).secret).toString(),
    SECRET,
  )
  assert.partialDeepStrictEqual(engine.tunnels[0], {
    name: 'paris',
    localId: 'prod',
    remoteId: 'paris',
    initiate: false,
  })
})

test('a controller that was removed is no longer among those that are preferred', async t => {
  const { home, service, add } = await bench(t)
  await add({ initiate: true })
  const [{ id, value }] = home.replica.all('attachment')
  const controllers = [OTHER, home.id]
  await home.replica.write(() => [{ kind: 'attachment', id, value: { ...value, controllers } }])
  const preferred = async () => (await service.attachment('paris')).controllers
  assert.deepEqual(await preferred(), ['alpha'])
  t.mock.method(home.views, 'isAdmitted', () => true)
  assert.deepEqual(await preferred(), [OTHER, 'alpha'])
})

test('the daemon runs only where something may be carried, and for as long as that is so', async t => {
  const { home, service, engine, carriage, add, review, up } = await bench(t)
  await add({ initiate: true })
  assert.deepEqual([engine.started, engine.stopped], [1, 0])
  // Others are to dial it from now on: a record as it is where this controller is not named.
  const [[id, value]] = [...home.replica.all('attachment')].map(each => [each.id, each.value] as const)
  const named = async (...controllers: ControllerId[]) => {
    await home.replica.write(() => [{ kind: 'attachment', id, value: { ...value, controllers } }])
    await review()
  }
  t.mock.method(home.views, 'isAdmitted', () => true)
  await up(id)
  await named(OTHER)
  // What is up stays until the other has it.
  assert.deepEqual([engine.tunnels.length, engine.stopped], [1, 0])
  engine.onDown(id)
  await review()
  assert.deepEqual([engine.tunnels.length, engine.started, engine.stopped], [0, 1, 1])
  engine.state = 'off'
  assert.deepEqual(carriage.engine, {
    ...{ state: 'idle', esp: undefined },
    problem: 'it is not needed: other controllers are to dial paris (--controllers)',
  })
  assert.deepEqual(carriage.warnings(), [])
  await named()
  assert.deepEqual([engine.tunnels.length, engine.started, engine.stopped], [1, 2, 1])
  await service.attachmentDown('paris')
  await review()
  assert.deepEqual([engine.tunnels, engine.started, engine.stopped], [[], 2, 2])
  assert.equal(carriage.engine.problem, 'it is not needed: no attachment is enabled')
  // One that dials in may come to anybody.
  await add({ name: 'rome', remote: 'any', remoteSubnets: ['192.168.40.0/24'] })
  assert.equal(engine.started, 3)
})

test('what another controller carries is routed here before the others are told, and at the engine until then', async t => {
  const { home, engine, live, carriage, add, review, up, other } = await bench(t)
  const id = await add({ initiate: true })
  live.others = [other({ attachments: [{ id, since: 5, several: false }] })]
  await review()
  const order: string[] = []
  carriage.onRoutes = () => order.push('routes')
  carriage.onChange = () => order.push('told')
  live.others = [other({ draining: true, attachments: [{ id, since: 5, several: false }] })]
  await review()
  assert.partialDeepStrictEqual(engine.tunnels[0], { initiate: true, takesOver: true })
  await up(id)
  assert.equal(carriage.carrierOf(id), home.id)
  assert.deepEqual(order.slice(0, 2), ['routes', 'told'])
  assert.equal(engine.tunnels[0].takesOver, false)
})

test('a site that dials while another controller carries it is taken once it has the answer', async t => {
  const { home, live, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  live.others = [other({ attachments: [{ id, since: 5, several: false }] })]
  await review()
  await up(id)
  assert.equal(carriage.carrierOf(id), OTHER)
  while (carriage.carrierOf(id) !== home.id) await sleep(10)
})

test('no controller carries a site that dials for good by saying since when', async t => {
  const { home, live, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  const told = async (since: number) => {
    live.others = [other({ attachments: [{ id, since, several: false }] })]
    await review()
  }
  await told(MAX_TIME)
  assert.equal(carriage.carrierOf(id), OTHER, 'where nobody else has it')
  await up(id)
  while (carriage.carrierOf(id) !== home.id) await sleep(10)
  await told(MAX_TIME - 1)
  assert.equal(carriage.carrierOf(id), home.id)
})

test('a site that dials goes by whom it came to last, also when the clock of the one before is ahead', async t => {
  const { home, live, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  live.others = [other({ attachments: [{ id, since: Date.now() + 3_600_000, several: false }] })]
  await review()
  await up(id)
  while (carriage.carrierOf(id) !== home.id) await sleep(10)
})

test('what is up is told, carried, and shown; what goes down is not', async t => {
  const { home, carriage, engine, add, up, types } = await bench(t)
  const id = await add({ initiate: true })
  assert.equal(carriage.state(id), 'connecting')
  assert.equal(engine.tunnels[0].initiate, true)
  await up(id)
  assert.deepEqual([carriage.state(id), carriage.carrierOf(id), carriage.isUpHere(id)], ['up', home.id, true])
  assert.equal(carriage.facts.attachments[0].id, id)
  engine.onDown(id)
  assert.deepEqual([carriage.carrierOf(id), carriage.isUpHere(id)], [undefined, false])
  assert.deepEqual(types().slice(-2), ['attachment-up', 'attachment-down'])
})

test('nobody is told before the kernel is ready', async t => {
  const made = await bench(t)
  const id = await made.add()
  made.engine.onUp(id)
  assert.equal(made.carriage.isUpHere(id), true)
  assert.deepEqual(made.carriage.facts.attachments, [])
  await made.review()
  assert.equal(made.carriage.facts.attachments.length, 1)
})

test('one that is down for good is taken from the daemon, and a new secret is given to it', async t => {
  const { service, engine, add, review } = await bench(t)
  await add()
  await service.changeAttachment('paris', {
    secret: Buffer.from('another secret that is long').toString('base64'),
  })
  await review()
  assert.equal(
    Buffer.from((engine.tunnels[0].authentication as { secret: Uint8Array }).secret).toString(),
    'another secret that is long',
  )
  await service.attachmentDown('paris')
  await review()
  assert.deepEqual(engine.tunnels, [])
})

test('while another carries it nobody dials here; when that one is gone, this one does', async t => {
  const { engine, live, add, review, other, types } = await bench(t)
  live.others = [other()]
  const id = await add({ initiate: true })
  live.others = [other({ attachments: [{ id, since: 5, several: false }] })]
  await review()
  // Whoever is the better candidate: a minute has not passed.
  assert.equal(engine.tunnels[0].initiate, false)
  live.others = []
  await review()
  assert.equal(engine.tunnels[0].initiate, true)
  assert.ok(types().includes('attachment-down'))
})

test('one whose daemon alone died is waited for, but not for long; one that is gone itself is not', async t => {
  const { home, service, engine, live, add, review, other } = await bench(t)
  live.others = [other()]
  let id = await add({ initiate: true })
  // Of a random id either may be the first to dial: here the other is.
  const terminators = [home.id, OTHER].map(each => ({ id: each, draining: false, since: undefined }))
  while (candidates({ id, initiate: true, controllers: [] }, terminators)[0] === home.id) {
    await service.removeAttachment('paris')
    id = await add({ initiate: true })
  }
  const sees = async (...others: PresentTerminator[]) => {
    live.others = others
    await review()
    return engine.tunnels[0].initiate
  }
  const carrying = other({ attachments: [{ id, since: 5, several: false }] })
  assert.equal(await sees(carrying), false)
  assert.equal(await sees(other({ ipsec: false })), false)
  live.now += RESTART_MS
  assert.equal(await sees(other({ ipsec: false })), true)
  assert.equal(await sees(carrying), false)
  assert.equal(await sees(), true)
})

test('what another carries later is ended here, once a moment has passed', async t => {
  const { engine, live, add, review, up, other } = await bench(t)
  const id = await add()
  await up(id)
  live.others = [other({ attachments: [{ id, since: Date.now() + 60_000, several: false }] })]
  await review()
  assert.deepEqual(engine.ended, [])
  live.now += 1500
  await review()
  assert.deepEqual(engine.ended, [id])
})

test('a site that keeps several controllers connected is let be, and that is told once', async t => {
  const { engine, live, add, review, up, other, types } = await bench(t)
  const id = await add()
  await up(id)
  live.others = [other({ attachments: [{ id, since: Date.now() + 60_000, several: true }] })]
  for (let i = 0; i < 3; i++) {
    live.now += 10_000
    await review()
  }
  assert.deepEqual(engine.ended, [])
  assert.equal(types().filter(type => type === 'attachment-standby').length, 1)
})

test('one that drains sends away what dials, takes nothing new, and keeps what nobody else could carry', async t => {
  const { engine, live, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  await up(id)
  live.draining = true
  await review()
  assert.deepEqual([engine.ended, carriage.isHandingOver, engine.isWelcoming], [[], false, false])
  live.others = [other()]
  await review()
  assert.deepEqual([engine.ended, carriage.isHandingOver], [[id], true])
  engine.onDown(id)
  await review()
  assert.deepEqual([engine.tunnels, carriage.isHandingOver], [[], false])
})

test('one that drains carries what another has, too, until the others know; then that goes there, and the site is sent away', async t => {
  const { home, engine, live, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  live.others = [other({ attachments: [{ id, since: 5, several: true }] })]
  await up(id)
  while (carriage.carrierOf(id) !== home.id) await sleep(10)
  const order: string[] = []
  carriage.onRoutes = () => order.push(`by ${carriage.wayOf(id) === home.id ? 'this' : 'the other'}`)
  live.draining = true
  await review()
  // The others are told at once where it goes, and what they send here until they know is not sent back to them.
  assert.deepEqual([carriage.carrierOf(id), carriage.wayOf(id)], [OTHER, home.id])
  live.now += KNOWN_MS - 1
  await review()
  assert.deepEqual([carriage.wayOf(id), engine.ended], [home.id, []])
  live.now++
  await review()
  assert.deepEqual([carriage.wayOf(id), engine.ended], [OTHER, []])
  live.now += PASSED_MS
  await review()
  assert.deepEqual([carriage.wayOf(id), engine.ended, carriage.isHandingOver], [OTHER, [id], true])
  assert.deepEqual(order, ['by this', 'by the other', 'by the other'])
  // The daemon keeps it for what is on its way, though nothing is sent by it any more.
  const { promise, resolve } = Promise.withResolvers<void>()
  engine.terminate = () => promise
  engine.ended.length = 0
  await review()
  engine.onDown(id)
  await review()
  assert.deepEqual([engine.tunnels.length, carriage.isHandingOver], [1, true])
  resolve()
  await review()
  await review()
  assert.deepEqual([engine.tunnels.length, carriage.isHandingOver], [0, false])
})

test('one that drains no more, or that the other has lost it to, goes on as if nothing had been', async t => {
  const { home, live, engine, carriage, add, review, up, other } = await bench(t)
  const id = await add()
  await up(id)
  const standby = other({ attachments: [{ id, since: 5, several: true }] })
  live.others = [standby]
  live.draining = true
  await review()
  assert.deepEqual([carriage.carrierOf(id), carriage.wayOf(id)], [OTHER, home.id])
  live.draining = false
  await review()
  assert.deepEqual([carriage.carrierOf(id), carriage.wayOf(id)], [home.id, home.id])
  live.now += KNOWN_MS
  live.draining = true
  await review()
  assert.equal(carriage.wayOf(id), home.id)
  live.others = [other()]
  await review()
  assert.deepEqual([carriage.carrierOf(id), engine.ended], [home.id, [id]])
})

test('while a controller sends a site away, the others do not end what it has left', async t => {
  const { engine, live, add, review, up, other } = await bench(t)
  const id = await add()
  await up(id)
  const third = identity(8).id
  const carrying = other({ attachments: [{ id, since: Date.now() + 60_000, several: false }] })
  const draining = other({ id: third, draining: true, attachments: [{ id, since: 6, several: false }] })
  live.others = [carrying, draining]
  for (let look = 0; look < 3; look++) {
    await review()
    live.now += 1500
  }
  assert.deepEqual(engine.ended, [])
  live.others = [carrying]
  await review()
  live.now += 1500
  await review()
  assert.deepEqual(engine.ended, [id])
})

test('a problem is kept until it is up, told once, and never a reason to stop', async t => {
  const { engine, carriage, add, up, types } = await bench(t)
  const id = await add({ initiate: true })
  engine.onProblem(id, 'authentication failed')
  engine.onProblem(id, 'authentication failed')
  assert.equal((await carriage.report(undefined)).problems[id].text, 'authentication failed')
  assert.equal(types().filter(type => type === 'attachment-problem').length, 1)
  await up(id)
  assert.deepEqual((await carriage.report(undefined)).problems, {})
})

test('where nobody can carry it, that is the problem, and a warning where it could be', async t => {
  const { engine, carriage, add } = await bench(t)
  engine.state = 'off'
  engine.problem = 'strongSwan is not installed'
  const id = await add()
  assert.match((await carriage.report(undefined)).problems[id].text, /no controller in reach.*not installed/)
  assert.match(carriage.warnings()[0], /carries no attachments: strongSwan is not installed/)
  await assert.rejects(carriage.comesUp(id), { message: /not installed/ })
})

test('while none of those who may dial is there, it is down, and that is the problem', async t => {
  const { engine, live, carriage, add, review, up, other } = await bench(t)
  const problem = async () => (await carriage.report(undefined)).problems[id]?.text
  live.others = [other()]
  const id = await add({ initiate: true, controllers: ['alpha'] })
  assert.deepEqual([carriage.state(id), await problem()], ['connecting', undefined])
  engine.state = 'off'
  await review()
  live.now += RESTART_MS
  assert.equal(carriage.state(id), 'down')
  assert.match((await problem())!, /no controller that may dial it \(alpha\).*`overmesh ipsec set`/)
  engine.state = 'running'
  await up(id)
  assert.deepEqual([carriage.state(id), await problem()], ['up', undefined])
})

test('what fails at the daemon without its saying why ends nothing, and is asked again', async t => {
  const { engine, live, add, review, up } = await bench(t)
  const { set } = engine
  engine.set = async () => {
    throw new TypeError('not thought of')
  }
  engine.terminate = async () => {
    throw new TypeError('not thought of')
  }
  const id = await add()
  assert.equal(engine.tunnels.length, 0)
  engine.set = set
  await review()
  assert.deepEqual(
    engine.tunnels.map(each => each.id),
    [id],
  )
  await up(id)
  live.draining = true
  live.others = [{ id: OTHER, draining: false, ipsec: true, attachments: [] }]
  await review()
  await review()
})

test('after the daemon died nothing is up here', async t => {
  const { engine, carriage, add, up } = await bench(t)
  const id = await add()
  await up(id)
  engine.state = 'starting'
  engine.onState()
  assert.deepEqual([carriage.carrierOf(id), carriage.facts.ipsec], [undefined, false])
})
