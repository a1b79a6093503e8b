// A capture as a stream: its bounds, its end, and a reader that is slower than the packets.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  type CaptureEnd,
  CaptureStream,
  type CaptureStreamInit,
} from '../../../node/capture/capture-stream.ts'
import { type Block, PcapngReader } from '../../../node/capture/pcapng-reader.ts'
import { COUNTER } from '../../../node/switch/counters.ts'
import {
  allocateRing,
  DIRECTION,
  flagsOf,
  RECORD,
  RECORD_BYTES,
  RingReader,
  RingWriter,
  THIS_MACHINE,
} from '../../../node/switch/tap-ring.ts'
import { ipv4Packet } from '../switch/peer.ts'

const PACKET = ipv4Packet(0x0a4d0002, 0x0a4d0003, new Uint8Array(20))

interface Setup {
  stream: CaptureStream
  /** False when the ring is full. */
  put(more?: {
    peerId?: number
    address?: number
    drop?: number
    direction?: number
    length?: number
  }): boolean
  told: { released: number; ended: [how: CaptureEnd, packets: number, lost: number][] }
}

function setUp(t: TestContext, init: Partial<CaptureStreamInit> = {}, ringBytes = 2 ** 16): Setup {
  const memory = allocateRing(ringBytes)
  const writer = new RingWriter(memory)
  const told: Setup['told'] = { released: 0, ended: [] }
  const stream = new CaptureStream({
    id: 1,
    ring: new RingReader(memory),
    seconds: 100,
    packets: 1000,
    bytes: 2 ** 20,
    snap: 0,
    application: 'Overmesh test',
    nameOf: ({ peerId, address }) => ({ name: `port ${peerId}`, description: `${address}` }),
    tunMtu: 1420,
    release: () => told.released++,
    ended: (...how) => told.ended.push(how),
    ...init,
  })
  t.after(() => stream.destroy())
  return {
    stream,
    told,
    put({ peerId = 5, address = 7, drop = -1, direction = DIRECTION.in, length = PACKET.length } = {}) {
      const at = writer.begin(PACKET.length)
      if (at < 0) return false
      const word = at >> 2
      writer.words[word + RECORD.peerId] = peerId
      writer.words[word + RECORD.address] = address
      writer.words[word + RECORD.flags] = flagsOf(direction, drop)
      writer.words[word + RECORD.length] = length
      writer.words[word + RECORD.seconds] = 1_700_000_000
      writer.words[word + RECORD.nanoseconds] = 123_456_789
      writer.bytes.set(PACKET, at + RECORD_BYTES)
      writer.commit()
      return true
    },
  }
}

async function blocksOf(stream: CaptureStream): Promise<Block[]> {
  const reader = new PcapngReader()
  const blocks: Block[] = []
  for await (const chunk of stream) blocks.push(...reader.push(chunk))
  return blocks
}

const packetsOf = (blocks: readonly Block[]) => blocks.filter(block => block.type === 'packet')
const summaryOf = (blocks: readonly Block[]) => {
  const last = blocks.at(-1)
  assert.ok(last?.type === 'statistics' && last.interface === 0)
  return last
}

test('packets come under the names of their ports, with direction, time, and why they were dropped', async t => {
  const { stream, put, told } = setUp(t)
  put()
  put({ peerId: 6, address: 8, direction: DIRECTION.out, length: 999 })
  // The same client on a new session.
  put({ peerId: 9, address: 7, drop: COUNTER.noRoute })
  put({ peerId: THIS_MACHINE, address: 0, length: 9000 })
  put({ peerId: THIS_MACHINE, address: 0, direction: DIRECTION.out, length: 9000 })
  stream.finish('asked')
  const blocks = await blocksOf(stream)
  assert.deepEqual(
    blocks.flatMap(block => (block.type === 'interface' ? [block.name] : [])),
    ['port -1', 'port 5', 'port 6'],
  )
  assert.deepEqual(
    packetsOf(blocks).map(({ interface: number, direction, length, comment }) => [
      number,
      direction,
      length,
      comment,
    ]),
    [
      [1, 1, 40, undefined],
      [2, 2, 999, undefined],
      [1, 1, 40, 'dropped: noRoute: no route to the destination'],
      [0, 1, 9000, 'a super-packet of the kernel, not cut into packets yet'],
      [0, 2, 9000, undefined],
    ],
  )
  for (const { packet, time } of packetsOf(blocks)) {
    assert.deepEqual(packet, PACKET)
    assert.equal(time, 1_700_000_000_123_456_789n)
  }
  assert.deepEqual(
    blocks.flatMap(block => (block.type === 'statistics' ? [[block.interface, block.received]] : [])),
    [
      [2, 1],
      [1, 2],
      [0, 2],
    ],
  )
  assert.equal(summaryOf(blocks).comment, 'ended: it was ended')
  assert.deepEqual(told, { released: 1, ended: [['asked', 5, 0]] })
})

test('it ends at exactly as many packets as asked for, and when it is long enough', async t => {
  const some = setUp(t, { packets: 7 })
  for (let i = 0; i < 20; i++) some.put()
  const blocks = await blocksOf(some.stream)
  assert.equal(packetsOf(blocks).length, 7)
  assert.match(summaryOf(blocks).comment ?? '', /as many packets as asked for/)
  assert.deepEqual(some.told, { released: 1, ended: [['packets', 7, 0]] })

  const long = setUp(t, { bytes: 100 })
  long.put()
  const all = blocksOf(long.stream)
  const timer = setInterval(long.put, 5)
  assert.match(summaryOf(await all).comment ?? '', /as long as may be/)
  clearInterval(timer)
})

test('it ends when its time is over', async t => {
  const { stream, put, told } = setUp(t, { seconds: 0.05 })
  put()
  const blocks = await blocksOf(stream)
  assert.equal(packetsOf(blocks).length, 1)
  assert.deepEqual(told, { released: 1, ended: [['seconds', 1, 0]] })
})

test('a reader that is too slow loses packets, is told how many, and no memory grows', async t => {
  const { stream, put, told } = setUp(t, { packets: 1e6, bytes: 2 ** 30 }, 2 ** 12)
  let lost = 0
  // Nobody reads: the stream takes what it may hold, and leaves the rest to the ring.
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 100; i++) if (!put()) lost++
    if (round === 0) stream.read(0)
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.ok(lost > 10_000, `${lost}`)
  assert.ok(stream.readableLength < 400_000, `${stream.readableLength}`)
  stream.finish('asked')
  const blocks = await blocksOf(stream)
  const packets = packetsOf(blocks)
  assert.equal(packets.length + lost, 20_000, 'each is there, or counted')
  assert.equal(summaryOf(blocks).lost, lost)
  assert.match(summaryOf(blocks).comment ?? '', new RegExp(`; ${lost} packets, of any interface, were lost`))
  assert.deepEqual(told.ended, [['asked', packets.length, lost]])
})

test('who goes away ends it, once', async t => {
  const { stream, told } = setUp(t)
  stream.destroy()
  stream.finish('asked')
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(told, { released: 1, ended: [['abandoned', 0, 0]] })
})

test('a capture without packets is a file all the same', async t => {
  const { stream } = setUp(t)
  stream.finish('stopping')
  assert.deepEqual(
    (await blocksOf(stream)).map(({ type }) => type),
    ['section', 'interface', 'statistics'],
  )
})
