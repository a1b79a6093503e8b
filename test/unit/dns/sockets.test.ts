// Real sockets on loopback: what is served, and whom else is asked.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { frameMessage, MessageReader } from '../../../node/dns/stream-framing.ts'
import { listenTcp, type TcpLimits } from '../../../node/dns/tcp-listener.ts'
import { type Answering, listenUdp } from '../../../node/dns/udp-listener.ts'
import { Upstream } from '../../../node/dns/upstream.ts'
import type { HostPort } from '../../../node/net/ip.ts'
import { ownPort } from '../own-ports.ts'
import { ip } from './ask.ts'

const HOST = '127.0.0.1'
const QUERY = Buffer.from('any bytes will do')

/** Sends the query back, shouted, with who asked and how. */
const echo: Answering = async (bytes, source, tcp) =>
  Buffer.from(`${Buffer.from(bytes).toString().toUpperCase()} ${source === ip(HOST)} ${tcp}`)

const server = (port: number): HostPort => ({ host: HOST, port, family: 'ipv4' })

async function udp(t: TestContext, answer: Answering = echo): Promise<number> {
  const listener = await listenUdp(HOST, 0, answer)
  t.after(() => listener.close())
  return listener.port
}

async function tcp(t: TestContext, answer: Answering = echo, limits?: TcpLimits): Promise<number> {
  const listener = await listenTcp(HOST, 0, answer, limits)
  t.after(() => listener.close())
  return listener.port
}

/** A port on which nobody answers: a socket that is bound and silent, and counts what it was asked. */
async function silent(t: TestContext): Promise<{ port: number; asked: number }> {
  const socket = createSocket('udp4')
  socket.bind(0, HOST)
  await once(socket, 'listening')
  t.after(() => socket.close())
  const told = { port: socket.address().port, asked: 0 }
  socket.on('message', () => {
    told.asked++
  })
  return told
}

function upstream(t: TestContext, ports: number[], timeout = 60_000, maxPending?: number): Upstream {
  const made = new Upstream({ servers: () => ports.map(server), timeout, maxPending })
  t.after(() => made.close())
  return made
}

const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString()
const accept = () => true

async function dial(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, HOST)
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function messages(socket: Socket, count: number): Promise<string[]> {
  const reader = new MessageReader(65_535)
  const all: string[] = []
  while (all.length < count) {
    const [chunk] = await once(socket, 'data')
    all.push(...reader.take(chunk)!.map(each => each.toString()))
  }
  return all
}

/** Whether a query gets an answer: otherwise the connection ends. */
async function isAnswered(socket: Socket): Promise<boolean> {
  const ended = new Promise<false>(resolve => socket.once('close', () => resolve(false)))
  const answered = messages(socket, 1).then(
    () => true,
    () => false,
  )
  socket.write(frameMessage(QUERY))
  return Promise.race([ended, answered])
}

test('a query goes there and back, by UDP and by TCP', async t => {
  const byUdp = upstream(t, [await udp(t)])
  assert.equal(text(await byUdp.ask(QUERY, false, accept)), 'ANY BYTES WILL DO true false')
  const byTcp = upstream(t, [await tcp(t)])
  assert.equal(text(await byTcp.ask(QUERY, true, accept)), 'ANY BYTES WILL DO true true')
})

test('a server that is silent or not there costs its time, and the next one is asked; from then on first', async t => {
  const good = await udp(t)
  const dead = await silent(t)
  const made = upstream(t, [dead.port, good], 2000)
  const began = performance.now()
  assert.ok(await made.ask(QUERY, false, accept))
  assert.ok(performance.now() - began >= 1900)
  assert.equal(dead.asked, 1)
  assert.ok(await made.ask(QUERY, false, accept))
  assert.equal(dead.asked, 1, 'the one that answered is asked first')
  const closed = await ownPort()
  const refusing = upstream(t, [closed, good])
  const refused = performance.now()
  assert.ok(await refusing.ask(QUERY, false, accept))
  assert.ok(performance.now() - refused < 20_000, '"connection refused" is not waited for')
  assert.ok(await upstream(t, [closed, await tcp(t)]).ask(QUERY, true, accept))
})

test('many that are silent cost no more time together than those who ask wait', async t => {
  const all = [await silent(t), await silent(t), await silent(t), await silent(t)]
  const servers = all.map(({ port }) => server(port))
  const made = new Upstream({ servers: () => servers, timeout: 60_000, total: 2000 })
  t.after(() => made.close())
  const began = performance.now()
  assert.equal(await made.ask(QUERY, false, accept), undefined)
  const took = performance.now() - began
  assert.ok(took >= 1900 && took < 20_000, `${took}`)
})

test('an answer that is not accepted is passed over, and the right one still taken', async t => {
  const wrong = createSocket('udp4')
  wrong.bind(0, HOST)
  await once(wrong, 'listening')
  t.after(() => wrong.close())
  wrong.on('message', (_message, from) => {
    for (const each of ['forged', 'right']) wrong.send(each, from.port, from.address)
  })
  const made = upstream(t, [wrong.address().port])
  const answer = await made.ask(QUERY, false, bytes => text(bytes) === 'right')
  assert.equal(text(answer), 'right')
})

test('only so many queries are under way, and closing ends them all', async t => {
  const made = upstream(t, [(await silent(t)).port], 60_000, 3)
  const waiting = Array.from({ length: 3 }, () => made.ask(QUERY, false, accept))
  const began = performance.now()
  assert.equal(await made.ask(QUERY, false, accept), undefined)
  made.close()
  assert.deepEqual(await Promise.all(waiting), [undefined, undefined, undefined])
  assert.ok(performance.now() - began < 20_000)
})

test('an address that is in use is an error with its code', async t => {
  const port = await udp(t)
  await assert.rejects(listenUdp(HOST, port, echo), { code: 'EADDRINUSE', address: HOST })
  const other = await tcp(t)
  await assert.rejects(listenTcp(HOST, other, echo), { code: 'EADDRINUSE', address: HOST })
})

test('TCP: many queries by one connection, in pieces, and one who has said all', async t => {
  const socket = await dial(t, await tcp(t))
  const stream = Buffer.concat([frameMessage(QUERY), frameMessage(Buffer.from('more'))])
  for (const byte of stream) {
    socket.write(Buffer.of(byte))
    await sleep(1)
  }
  assert.deepEqual(await messages(socket, 2), ['ANY BYTES WILL DO true true', 'MORE true true'])
  socket.end(frameMessage(Buffer.from('last')))
  assert.deepEqual(await messages(socket, 1), ['LAST true true'])
  await once(socket, 'close')
})

test('TCP: who is not answered, asks for too much or says nothing is put out', async t => {
  const port = await tcp(t, async () => undefined)
  const unwanted = await dial(t, port)
  unwanted.write(frameMessage(QUERY))
  await once(unwanted, 'close')
  const long = await dial(t, port)
  long.write(Buffer.of(0xff, 0xff, 1))
  await once(long, 'close')
  const patient = await tcp(t, echo, { idle: 1000 })
  const began = performance.now()
  const idle = await dial(t, patient)
  await once(idle, 'close')
  assert.ok(performance.now() - began >= 900)
})

test('TCP: one address has only so many connections, and all together', async t => {
  const port = await tcp(t, echo, { perSource: 2 })
  const [first] = [await dial(t, port), await dial(t, port)]
  const third = await dial(t, port)
  await once(third, 'close')
  first.write(frameMessage(QUERY))
  assert.equal((await messages(first, 1)).length, 1)
  first.destroy()
  // A place that was given up is free, as soon as the other end has heard of it.
  while (!(await isAnswered(await dial(t, port)))) await sleep(10)
  const few = await tcp(t, echo, { connections: 1 })
  await dial(t, few)
  await once(await dial(t, few), 'close')
})

test('TCP: who asks and does not read is put out before it fills the memory', async t => {
  const big: Answering = async () => Buffer.alloc(60_000)
  const port = await tcp(t, big, { perSource: 1, idle: 600_000 })
  const socket = await dial(t, port)
  socket.pause()
  const closed = once(socket, 'close')
  const stream = Buffer.concat(Array.from({ length: 500 }, () => frameMessage(QUERY)))
  socket.write(stream)
  // Its place is free for another.
  while (!(await isAnswered(await dial(t, port)))) await sleep(10)
  socket.resume()
  await closed
  assert.ok(socket.bytesRead < 500 * 60_000)
})
