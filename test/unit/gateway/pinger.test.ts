import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EchoSocket, Pinger } from '../../../node/gateway/pinger.ts'
import type { EchoRequest } from '../../../node/gateway/prober.ts'
import { ECHO_LENGTH, readEcho, readEcho6 } from '../../../node/switch/echo.ts'
import { checksum } from '../../../node/switch/ipv4.ts'
import { SysError } from '../../../node/switch/sys/error.ts'
import { type Address6, type IpAddress, parseAddress6 } from '../../../state/address6.ts'

/** Keeps what is sent, and gives what a test puts in. */
class FakeSocket implements EchoSocket {
  readonly version: 4 | 6
  readonly raw: boolean
  readonly identifier: number | undefined
  readonly message = new Uint8Array(256)
  from: IpAddress = 0
  error: string | undefined
  closed = false
  readonly sent: { address: IpAddress; bytes: Uint8Array }[] = []
  readonly waiting: { from: IpAddress; bytes: Uint8Array }[] = []

  constructor(raw = false, version: 4 | 6 = 4) {
    this.version = version
    this.raw = raw
    this.identifier = raw ? undefined : 4711
  }
  send(address: IpAddress, length: number): string | undefined {
    if (this.error === undefined) this.sent.push({ address, bytes: this.message.slice(0, length) })
    return this.error
  }
  receive(): number {
    const next = this.waiting.shift()
    if (next === undefined) return 0
    this.message.set(next.bytes.subarray(0, this.message.length))
    this.from = next.from
    return Math.min(next.bytes.length, this.message.length)
  }
  close(): void {
    this.closed = true
  }
  /** The answer to a request. */
  static reply(request: Uint8Array, change: (bytes: Uint8Array) => void = () => {}): Uint8Array {
    const bytes = request.slice()
    bytes[0] = request[0] === 128 ? 129 : 0
    change(bytes)
    bytes.set([0, 0], 2)
    const sum = checksum(bytes, 0, bytes.length)
    bytes.set([sum >> 8, sum & 255], 2)
    return bytes
  }
}

const withHeader = (message: Uint8Array, options = 0): Uint8Array => {
  const header = new Uint8Array(20 + options)
  header[0] = 0x40 | (header.length / 4)
  header[3] = header.length + message.length
  header[9] = 1
  return Uint8Array.from([...header, ...message])
}

function start(raw = false, version: 4 | 6 = 4) {
  const socket = new FakeSocket(raw, version)
  const opened: (IpAddress | undefined)[] = []
  const sent: { port: number; to: IpAddress; token: Uint8Array }[] = []
  const pinger = new Pinger({
    sendByPort: (port, to, token) => port < 100 && sent.push({ port, to, token: token.slice() }) > 0,
    open: (asked, source) => {
      assert.equal(asked, version)
      opened.push(source)
      return socket
    },
  })
  const answers = (): EchoRequest[] => {
    const list: EchoRequest[] = []
    pinger.collect(request => list.push(request))
    return list
  }
  return { socket, opened, sent, pinger, answers }
}

const request = (
  sequence: number,
  address: IpAddress = 0xc0a80501,
  from: EchoRequest['from'] = 'kernel',
): EchoRequest => ({ target: 1, sequence, address, from })

test('a request is a valid echo message, and its answer comes back once', () => {
  const { socket, pinger, answers } = start()
  assert.ok(pinger.send(request(1)))
  const [{ address, bytes }] = socket.sent
  assert.equal(address, 0xc0a80501)
  assert.equal(bytes.length, ECHO_LENGTH)
  assert.equal(bytes[0], 8)
  assert.equal(checksum(bytes, 0, bytes.length), 0)
  const reply = FakeSocket.reply(bytes)
  socket.waiting.push({ from: address, bytes: reply }, { from: address, bytes: reply })
  assert.deepEqual(answers(), [request(1)])
})

test('a raw socket brings IP headers, with options too, and messages of others', () => {
  const { socket, pinger, answers } = start(true)
  for (const options of [0, 4, 40]) {
    pinger.send(request(options))
    const { address, bytes } = socket.sent.at(-1)!
    const reply = FakeSocket.reply(bytes)
    const strange = FakeSocket.reply(bytes, each => {
      each[4] ^= 1
    })
    socket.waiting.push({ from: address, bytes: withHeader(strange) })
    socket.waiting.push({ from: address, bytes: withHeader(reply, options) })
    assert.deepEqual(answers(), [request(options)])
  }
})

test('an IPv6 address is asked by a socket of IPv6, and answers for itself alone', () => {
  const target = parseAddress6('2001:db8:5::9')!
  const other: Address6 = [target[0], target[1], target[2], target[3] + 1]
  for (const raw of [false, true]) {
    const { socket, pinger, answers, opened } = start(raw, 6)
    assert.ok(pinger.send(request(1, target)))
    assert.deepEqual(opened, [undefined])
    const [{ address, bytes }] = socket.sent
    assert.deepEqual(address, target)
    assert.deepEqual([...bytes.subarray(0, 4)], [128, 0, 0, 0], 'the kernel fills its checksum in')
    const reply = FakeSocket.reply(bytes)
    const cut = reply.subarray(0, reply.length - 1)
    const strange = FakeSocket.reply(bytes, each => each.set([each[4] ^ 1], 4))
    for (const each of [bytes, cut, strange, new Uint8Array(0)])
      socket.waiting.push({ from: target, bytes: each })
    socket.waiting.push({ from: other, bytes: reply })
    for (let i = 0; i < 5; i++) assert.deepEqual(answers(), [])
    socket.waiting.push({ from: [...target], bytes: reply })
    assert.deepEqual(answers(), [request(1, target)])
  }
})

test('what is not exactly the answer from the one that was asked is passed over', () => {
  const { socket, pinger, answers } = start()
  pinger.send(request(1))
  const [{ address, bytes }] = socket.sent
  const reply = FakeSocket.reply(bytes)
  const forged: Uint8Array[] = [
    bytes,
    reply.subarray(0, reply.length - 1),
    Uint8Array.from([...reply, 0]),
    new Uint8Array(0),
    new Uint8Array(256),
    FakeSocket.reply(bytes, each => each.set([3], 0)),
    FakeSocket.reply(bytes, each => each.set([1], 1)),
    FakeSocket.reply(bytes, each => each.set([each[5] ^ 1], 5)),
    FakeSocket.reply(bytes, each => each.set([each[7] ^ 1], 7)),
    FakeSocket.reply(bytes, each => each.set([each[23] ^ 1], 23)),
    reply.map((byte, i) => (i === 2 ? byte ^ 1 : byte)),
  ]
  for (const each of forged) {
    socket.waiting.push({ from: address, bytes: each })
    assert.deepEqual(answers(), [])
  }
  socket.waiting.push({ from: 0xc0a80502, bytes: reply })
  assert.deepEqual(answers(), [])
  socket.waiting.push({ from: address, bytes: reply })
  assert.equal(answers().length, 1, 'none of them used the request up')
})

test('hostile bytes of every length are read without a fault', () => {
  const bytes = new Uint8Array(80)
  for (let round = 0; round < 20_000; round++) {
    for (let i = 0; i < bytes.length; i++)
      bytes[i] = (round * 31 + i * ((round % 7) + 1) + (round >> 5)) & 255
    if (round % 2 === 0) bytes.set([0x40 | (round & 15), 0, 0, round % 90], 0)
    if (round % 3 === 0) bytes[9] = 1
    readEcho(bytes, round % 90, round % 2 === 0)
    readEcho6(bytes, round % 3, round % 90)
  }
  assert.equal(readEcho(withHeader(FakeSocket.reply(new Uint8Array(ECHO_LENGTH))), 20, true), undefined)
  assert.ok(readEcho(withHeader(FakeSocket.reply(new Uint8Array(ECHO_LENGTH))), 44, true))
})

test('a flood is read in portions', () => {
  const { socket, pinger, answers } = start()
  pinger.send(request(1))
  const noise = new Uint8Array(ECHO_LENGTH)
  for (let i = 0; i < 2000; i++) socket.waiting.push({ from: 7, bytes: noise })
  answers()
  assert.ok(socket.waiting.length > 1000 && socket.waiting.length < 2000)
})

test('no route is not the same as no way to ask', () => {
  const { socket, opened, pinger } = start()
  socket.error = 'ENETUNREACH'
  assert.equal(pinger.send(request(1)), true)
  socket.error = 'ENOBUFS'
  assert.equal(pinger.send(request(2)), false)
  assert.equal(socket.closed, false)
  socket.error = 'EINVAL'
  assert.equal(pinger.send(request(3)), false)
  assert.ok(socket.closed)
  socket.error = undefined
  assert.equal(pinger.send(request(4)), true)
  assert.deepEqual(opened, [undefined, undefined])
})

test('says what to do where there is no privilege, and when that is over, nothing', () => {
  let code: string | undefined = 'EPERM'
  const open = () => {
    if (code !== undefined) throw new SysError('socket', code)
    return new FakeSocket()
  }
  const pinger = new Pinger({ sendByPort: () => false, open })
  assert.equal(pinger.send(request(1)), false)
  assert.match(pinger.problem ?? '', /run as root or with CAP_NET_RAW/)
  code = 'EADDRNOTAVAIL'
  assert.equal(pinger.send(request(1)), false)
  assert.match(pinger.problem ?? '', /\(EADDRNOTAVAIL\)/)
  code = undefined
  assert.equal(pinger.send(request(1)), true)
  assert.equal(pinger.problem, undefined)
})

test('sources have a socket each, but not without end; requests are not kept for ever', () => {
  const sockets: FakeSocket[] = []
  const open = () => {
    sockets.push(new FakeSocket())
    return sockets.at(-1)!
  }
  const pinger = new Pinger({ sendByPort: () => false, open })
  let able = 0
  for (let source = 0; source < 20; source++) if (pinger.send(request(1, 1, { source }))) able++
  assert.equal(able, 8)
  for (let i = 0; i < 5000; i++) pinger.send(request(i, 1, { source: 0 }))
  const [oldest] = sockets[0].sent
  sockets[0].waiting.push({ from: 1, bytes: FakeSocket.reply(oldest.bytes) })
  const { bytes } = sockets[0].sent.at(-1)!
  sockets[0].waiting.push({ from: 1, bytes: FakeSocket.reply(bytes) })
  const answers: number[] = []
  pinger.collect(({ sequence }) => answers.push(sequence))
  assert.deepEqual(answers, [4999])
  pinger.close()
  assert.ok(sockets.every(({ closed }) => closed))
})

test('by a port of the switch IPv6 is asked, too', () => {
  const { sent, pinger } = start()
  const target = parseAddress6('2001:db8:5::9')!
  const asked = request(1, target, { port: 5 })
  assert.ok(pinger.send(asked))
  const [{ to, token }] = sent
  assert.deepEqual(to, target)
  assert.equal(pinger.byPort(5, target[3], token), undefined)
  assert.deepEqual(pinger.byPort(5, [...target], token), asked)
})

test('what the switch sends by a port counts only for that port, address and token', () => {
  const { sent, pinger } = start()
  const asked = request(1, 9, { port: 5 })
  assert.ok(pinger.send(asked))
  assert.equal(pinger.send(request(1, 9, { port: 100 })), false, 'no such port')
  const [{ port, to, token }] = sent
  assert.deepEqual([port, to], [5, 9])
  assert.equal(pinger.byPort(6, 9, token), undefined)
  assert.equal(pinger.byPort(5, 8, token), undefined)
  assert.equal(
    pinger.byPort(
      5,
      9,
      token.map(byte => byte ^ 1),
    ),
    undefined,
  )
  assert.equal(pinger.byPort(5, 9, new Uint8Array(0)), undefined)
  assert.deepEqual(pinger.byPort(5, 9, token), asked)
  assert.equal(pinger.byPort(5, 9, token), undefined, 'once')
})
