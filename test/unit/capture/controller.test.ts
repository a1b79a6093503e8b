// Captures of a controller that runs in this process, over its API's socket: by name, with the events they leave, and
// what ends them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import pino from 'pino'
import { RemoteController } from '../../../node/api/remote.ts'
import { type ApiServer, startApi } from '../../../node/api/server.ts'
import { apiSocketPath } from '../../../node/api/socket.ts'
import { MAX_CAPTURES } from '../../../node/capture/captures.ts'
import { type Block, PcapngReader } from '../../../node/capture/pcapng-reader.ts'
import { Controller } from '../../../node/controller.ts'
import { initMesh } from '../../../node/init.ts'
import type { CaptureRequest } from '../../../node/service-capture.ts'
import { UdpClient } from '../../../node/vpn/udp-client.ts'
import { patientProfile } from '../controller/home.ts'

const WEB = '10.77.0.49'
const DB = '10.77.0.50'
const AWAY = '10.77.0.51'

let directory: string
let controller: Controller
let api: ApiServer
let remote: RemoteController
let web: UdpClient
let db: UdpClient

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'overmesh-capture-'))
  const dataDir = join(directory, 'data')
  const listen = { listen: ['127.0.0.1:0'], meshListen: '127.0.0.1:0', public: ['vpn.example.net'] }
  await initMesh({ dataDir, name: 'test', subnet: '10.77.0.0/24', controller: 'alpha', ...listen })
  controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  await controller.start()
  api = await startApi({ service: controller.service, socketPath: apiSocketPath(directory) })
  remote = new RemoteController(apiSocketPath(directory))
  web = await connect('web', WEB)
  db = await connect('db', DB)
  await controller.service.addClient({ name: 'away', ip: AWAY })
})
after(async () => {
  web?.close()
  db?.close()
  await api?.close()
  await controller?.stop()
  await rm(directory, { recursive: true })
})

async function connect(name: string, ip: string): Promise<UdpClient> {
  const pack = await controller.service.addClient({ name, ip })
  const port = Number((await controller.service.status()).controller.listen[0].split(':')[1])
  const profile = patientProfile(pack.content)
  const client = new UdpClient(profile, { remote: { host: '127.0.0.1', port }, reconnect: false })
  await client.connect(20_000)
  return client
}

/** What is captured while something is done. */
async function during(request: CaptureRequest, work: () => Promise<unknown>): Promise<Block[]> {
  const { id, content } = await remote.capture(request)
  const blocks = read(content)
  await work()
  assert.deepEqual(await remote.endCapture(id), { ended: true })
  return blocks
}

async function read(content: AsyncIterable<Uint8Array>): Promise<Block[]> {
  const reader = new PcapngReader()
  const blocks: Block[] = []
  for await (const chunk of content) blocks.push(...reader.push(chunk))
  return blocks
}

/** `PORT in|out: reason`, one for each packet. */
function passes(blocks: readonly Block[]): string[] {
  const names = blocks.flatMap(block => (block.type === 'interface' ? [block.name] : []))
  return blocks.flatMap(block => {
    if (block.type !== 'packet') return []
    const way = `${names[block.interface]} ${block.direction === 1 ? 'in' : 'out'}`
    return [block.comment === undefined ? way : `${way}: ${block.comment}`]
  })
}

const events = async (type: string) => (await remote.events()).filter(event => event.type === type)

test('packets pass under the names of clients, and events say that they were looked at', async () => {
  const blocks = await during({ hosts: [WEB, DB], protocol: 'icmp', packets: 50 }, () => web.ping(DB))
  assert.deepEqual(passes(blocks), ['client web in', 'client db out', 'client db in', 'client web out'])
  for (const block of blocks)
    if (block.type === 'packet') assert.equal(block.packet.length, 28, 'headers only')
  const [started] = (await events('capture-started')).slice(-1) as unknown as Record<string, unknown>[]
  assert.equal(started.message, `packets are captured: host ${WEB}, host ${DB}, protocol icmp, headers only`)
  assert.deepEqual(started.filter, { hosts: [WEB, DB], protocol: 'icmp', packets: 50 })
  const [ended] = (await events('capture-ended')).slice(-1) as unknown as Record<string, unknown>[]
  const { capture, packets, lost, how } = ended
  assert.deepEqual(
    { capture, packets, lost, how },
    { capture: started.capture, packets: 4, lost: 0, how: 'asked' },
  )
})

test('one client is what passes its session', async () => {
  const blocks = await during({ client: 'db', hosts: [WEB], snap: 65_535 }, () => web.ping(DB))
  assert.deepEqual(passes(blocks), ['client db out', 'client db in'])
  for (const block of blocks) if (block.type === 'packet') assert.equal(block.packet.length, block.length)
  const other = await during({ client: 'away' }, () => web.ping(DB))
  assert.deepEqual(passes(other), [])
})

test('what is dropped has its reason', async () => {
  const blocks = await during({ dropped: true }, async () => {
    await web.ping(AWAY, { timeout: 300 }).catch(() => {})
    // What was sent before has been looked at when this is answered.
    await web.ping(DB, { timeout: 20_000 })
  })
  assert.deepEqual(passes(blocks), ['client web in: dropped: unreachable: the destination is not connected'])
})

test('it ends by itself after as many packets as wanted, or when the time is over', async () => {
  const { content } = await remote.capture({ hosts: [DB], packets: 3 })
  const blocks = read(content)
  await web.ping(DB)
  assert.equal(passes(await blocks).length, 3)
  const short = await remote.capture({ seconds: 1, client: 'away' })
  const last = (await read(short.content)).at(-1)
  assert.ok(last?.type === 'statistics')
  assert.equal(last.comment, 'ended: the time was over')
  assert.deepEqual(await remote.endCapture(short.id), { ended: false })
})

test('a reader that vanishes ends it, and makes room', async () => {
  const ended = (await events('capture-ended')).length
  const responses: IncomingMessage[] = []
  for (let i = 0; i < MAX_CAPTURES; i++) {
    const headers = { 'content-type': 'application/json' }
    const socketPath = apiSocketPath(directory)
    const request = httpRequest({ socketPath, method: 'POST', path: '/v1/captures', headers })
    request.end('{}')
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(response.headers['content-type'], 'application/x-pcapng')
    responses.push(response)
  }
  await assert.rejects(remote.capture({}), { code: 'refused', message: /4 captures run already/ })
  // As by kill -9.
  for (const response of responses) response.destroy()
  const isOver = async () => (await events('capture-ended')).length === ended + MAX_CAPTURES
  while (!(await isOver())) await new Promise(resolve => setTimeout(resolve, 5))
  const { how } = (await events('capture-ended')).at(-1) as unknown as { how: string }
  assert.equal(how, 'abandoned')
  assert.equal(passes(await during({ hosts: [WEB, DB] }, () => web.ping(DB))).length, 4)
})

test('what is not known, or cannot be, is refused and said', async () => {
  const refused: [CaptureRequest, RegExp, string][] = [
    [{ client: 'nobody' }, /no client is named nobody/, 'not-found'],
    [{ controller: 'nobody' }, /no controller is named nobody/, 'not-found'],
    [{ attachment: 'nobody' }, /no attachment is named nobody/, 'not-found'],
    [{ controller: 'alpha' }, /alpha is this controller, and has no TUN/, 'refused'],
    [{ client: 'web', controller: 'alpha' }, /one port at a time/, 'invalid'],
    [{ hosts: ['10.77'] }, /neither an IPv4 nor an IPv6 address/, 'invalid'],
    [{ networks: ['10.77.0.0/40'] }, /neither an IPv4 nor an IPv6 prefix/, 'invalid'],
    [{ seconds: 86_400 }, /seconds/, 'invalid'],
    [{ packets: 1e9 }, /packets/, 'invalid'],
    [{ snap: 70_000 }, /snap/, 'invalid'],
    [{ hosts: Array(5).fill(DB) }, /hosts/, 'invalid'],
    [{ port: 0 }, /port/, 'invalid'],
    [{ colour: 'red' } as never, /colour/, 'invalid'],
  ]
  for (const [request, message, code] of refused)
    await assert.rejects(remote.capture(request), { message, code }, JSON.stringify(request))
})

test('a capture ends, sound, when the controller stops', async () => {
  const { content } = await remote.capture({ client: 'web' })
  const blocks = read(content)
  await web.ping(DB)
  const before = (await events('capture-ended')).length
  await api.close()
  const last = (await blocks).at(-1)
  assert.ok(last?.type === 'statistics')
  assert.equal(last.comment, 'ended: the controller stops')
  const ended = (await controller.service.events()).filter(({ type }) => type === 'capture-ended')
  assert.equal(ended.length, before + 1)
})
