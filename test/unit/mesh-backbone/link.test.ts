// Two ends of a backbone link over an ordered channel: whatever either sends with, the other has the key for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { newEphemeral } from '../../../mesh/backbone/agreement.ts'
import { BackboneLink, KEY_LIFE } from '../../../mesh/backbone/link.ts'
import { decodeLinkMessage, encodeLinkMessage } from '../../../mesh/backbone/link-message.ts'
import {
  KEY_IDS,
  LINK_IDS,
  type LinkKeys,
  type LinkPath,
  type LinkPlane,
  type LinkSpec,
} from '../../../mesh/backbone/link-plane.ts'
import type { ControllerId } from '../../../state/kinds.ts'

const IDS = ['0'.repeat(20), 'f'.repeat(20)] as ControllerId[]
const PATHS: LinkPath[] = [1, 2, 3].map(host => ({
  socket: 0,
  remote: `192.0.2.${host}`,
  port: 1194,
  local: '',
  ifindex: 0,
}))

/** ms, and far more than the mesh takes: see `ChannelState`. Old keys are kept for longer. */
const LONGEST_SILENCE = 25_000

/** Keeps what it is told, as the switch does. */
class FakePlane implements LinkPlane {
  spec: LinkSpec | undefined
  path: LinkPath | undefined
  readonly keys = new Map<number, { send: string; receive: string }>()
  sending: number | undefined
  moves = 0
  openLink(spec: LinkSpec): void {
    for (const id of [spec.peerId, spec.remotePeerId])
      if (id < LINK_IDS.first || id > LINK_IDS.last) throw new RangeError(`link id ${id}`)
    this.closeLink()
    this.spec = spec
    this.path = spec.path
  }
  setKey(_peerId: number, keyId: number, { send, receive }: LinkKeys): void {
    const text = (key: LinkKeys['send']) => Buffer.concat([key.cipher, key.hmac]).toString('hex')
    this.keys.set(keyId, { send: text(send), receive: text(receive) })
  }
  useKey(_peerId: number, keyId: number): void {
    assert.ok(this.keys.has(keyId), 'a key that is used was set before')
    this.sending = keyId
  }
  dropKey(_peerId: number, keyId: number): void {
    assert.notEqual(keyId, this.sending, 'the key in use stays')
    this.keys.delete(keyId)
  }
  moveLink(_peerId: number, path: LinkPath): void {
    this.path = path
    this.moves++
  }
  closeLink(): void {
    this.spec = undefined
    this.keys.clear()
    this.sending = undefined
  }
  linkStats() {
    return undefined
  }
}

class Ends {
  now = 1_000_000
  isConnected = false
  /** The ends whose channel takes nothing more just now. */
  readonly full = new Set<number>()
  readonly planes = [new FakePlane(), new FakePlane()]
  readonly links: BackboneLink[] = []
  readonly wires: { payload: Uint8Array; at: number }[][] = [[], []]
  readonly told: (readonly string[])[] = [[], []]
  #port = 0xf00000

  constructor() {
    for (const end of [0, 1]) this.start(end)
  }

  /** A new process at this end. */
  start(end: number): void {
    this.planes[end].closeLink()
    this.links[end] = new BackboneLink({
      id: IDS[end],
      peer: IDS[1 - end],
      port: this.#port++,
      mtu: 1420,
      plane: this.planes[end],
      endpoints: () => [`192.0.2.${end + 1}:1194`],
      random: () => 0.5,
      send: payload => {
        const isTaken = this.isConnected && !this.full.has(end)
        if (isTaken) this.wires[end].push({ payload, at: this.now })
        return isTaken
      },
      told: endpoints => {
        this.told[end] = endpoints
      },
    })
    this.links[end].setCandidates(PATHS.slice(0, 2))
  }

  connect(): void {
    if (this.isConnected) this.disconnect()
    this.isConnected = true
    for (const link of this.links) link.connected(this.now)
  }

  disconnect(): void {
    this.isConnected = false
    for (const wire of this.wires) wire.length = 0
    for (const link of this.links) link.disconnected()
  }

  /** Hands over the next message that an end sent. */
  deliver(from: number): void {
    const message = this.wires[from].shift()
    if (message) assert.equal(this.links[1 - from].receive(message.payload, this.now), true)
    this.check()
  }

  settle(): void {
    while (this.wires.some(wire => wire.length > 0)) for (const end of [0, 1]) this.deliver(end)
  }

  /** A channel on which something waits for long is cut. */
  pass(ms: number): void {
    this.now += ms
    const isStuck = ({ at }: { at: number }): boolean => this.now - at > LONGEST_SILENCE
    if (this.wires.some(wire => wire.some(isStuck))) this.disconnect()
    for (const link of this.links) link.poll(this.now)
    this.check()
  }

  /** A packet under the key in use is one that the other end can read, if both are of one life of the link. */
  check(): void {
    for (const end of [0, 1]) {
      const [here, there] = [this.planes[end], this.planes[1 - end]]
      if (here.sending === undefined || here.spec?.remotePeerId !== this.links[1 - end].port) continue
      if (there.spec?.remotePeerId !== this.links[end].port) continue
      assert.equal(there.keys.get(here.sending)?.receive, here.keys.get(here.sending)?.send)
    }
  }
}

test('a channel that opens gives both ends keys, each other’s names, and where the other is', () => {
  const ends = new Ends()
  ends.connect()
  ends.settle()
  for (const end of [0, 1]) {
    const { spec, sending } = ends.planes[end]
    assert.equal(spec?.remotePeerId, ends.links[1 - end].port)
    assert.notEqual(sending, undefined)
    assert.deepEqual(ends.told[end], [`192.0.2.${2 - end}:1194`])
  }
  assert.equal(ends.planes[0].sending, ends.planes[1].sending)
})

test('keys are renewed within the hour, and the old ones go half a minute later', () => {
  const ends = new Ends()
  ends.connect()
  ends.settle()
  const first = ends.planes[0].sending!
  ends.pass(KEY_LIFE)
  ends.settle()
  const second = ends.planes[0].sending!
  assert.notEqual(second, first)
  for (const plane of ends.planes) assert.deepEqual([...plane.keys.keys()].sort(), [first, second].sort())
  ends.pass(30_000)
  for (const plane of ends.planes) assert.deepEqual([...plane.keys.keys()], [second])
})

test('either end may ask for new keys when its packets run out', () => {
  for (const end of [0, 1]) {
    const ends = new Ends()
    ends.connect()
    ends.settle()
    const before = ends.planes[end].sending
    ends.links[end].rekey(ends.now)
    ends.settle()
    assert.notEqual(ends.planes[end].sending, before)
  }
})

test('without a channel the link goes on with what it has', () => {
  const ends = new Ends()
  ends.connect()
  ends.settle()
  ends.disconnect()
  for (const link of ends.links) link.rekey(ends.now)
  ends.pass(3 * KEY_LIFE)
  for (const plane of ends.planes) assert.notEqual(plane.sending, undefined)
})

test('a key is taken for as long as the other end may not have heard of the next one', () => {
  const ends = new Ends()
  ends.connect()
  ends.settle()
  const first = ends.planes[1].sending!
  ends.links[0].rekey(ends.now)
  ends.deliver(0)
  ends.deliver(1)
  assert.notEqual(ends.planes[0].sending, first)
  // Before the answerer has the last message.
  ends.disconnect()
  ends.pass(KEY_LIFE)
  assert.equal(ends.planes[1].sending, first)
  assert.ok(ends.planes[0].keys.has(first))
  ends.connect()
  ends.settle()
  ends.pass(31_000)
  for (const plane of ends.planes) assert.deepEqual([...plane.keys.keys()], [plane.sending])
})

test('what the channel had no room for is said again', () => {
  for (const lost of ['offer', 'answer', 'confirm', 'request'] as const) {
    const ends = new Ends()
    const end = lost === 'answer' || lost === 'request' ? 1 : 0
    if (lost === 'offer') ends.full.add(end)
    ends.connect()
    if (lost === 'answer') ends.full.add(end)
    ends.deliver(0)
    if (lost === 'confirm') ends.full.add(end)
    ends.deliver(1)
    ends.settle()
    const before = ends.planes[1].sending
    if (lost === 'request') ends.full.add(end)
    if (lost === 'request') ends.links[end].rekey(ends.now)
    ends.full.clear()
    for (let second = 0; second < 12; second++) {
      ends.pass(1000)
      ends.settle()
    }
    const { sending } = ends.planes[1]
    assert.notEqual(sending, undefined, lost)
    assert.equal(sending, ends.planes[0].sending, lost)
    assert.notEqual(sending, before, lost)
  }
})

test('while it is down it tries one path after the other, once a second, and the one it was heard from', () => {
  const ends = new Ends()
  ends.connect()
  ends.settle()
  const [link] = ends.links
  const [plane] = ends.planes
  const tried = new Set<string>()
  link.floated(PATHS[2])
  for (let second = 0; second < 6; second++) {
    ends.pass(1000)
    tried.add(plane.path!.remote)
  }
  assert.deepEqual(
    [...tried].sort(),
    PATHS.map(path => path.remote),
  )
  link.up = true
  const { moves } = plane
  ends.pass(5000)
  assert.equal(plane.moves, moves)
})

test('whatever happens, nothing is sent that the other end has no key for, and in the end both have one', () => {
  const happenings = fc.array(
    fc.oneof(
      { weight: 10, arbitrary: fc.record({ what: fc.constant('deliver' as const), end: fc.nat(1) }) },
      { weight: 3, arbitrary: fc.record({ what: fc.constant('rekey' as const), end: fc.nat(1) }) },
      { weight: 3, arbitrary: fc.record({ what: fc.constant('pass' as const), end: fc.nat(40_000) }) },
      { weight: 2, arbitrary: fc.record({ what: fc.constant('connect' as const), end: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('disconnect' as const), end: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('restart' as const), end: fc.nat(1) }) },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('full' as const), end: fc.nat(1) }) },
    ),
    { maxLength: 80 },
  )
  fc.assert(
    fc.property(happenings, list => {
      const ends = new Ends()
      ends.connect()
      for (const { what, end } of list) {
        if (what === 'deliver') ends.deliver(end)
        else if (what === 'rekey') ends.links[end].rekey(ends.now)
        else if (what === 'pass') ends.pass(end)
        else if (what === 'connect') ends.connect()
        else if (what === 'disconnect') ends.disconnect()
        else if (what === 'full') ends.full[ends.full.has(end) ? 'delete' : 'add'](end)
        else {
          ends.disconnect()
          ends.start(end)
        }
        ends.check()
      }
      ends.full.clear()
      ends.connect()
      ends.settle()
      ends.pass(6000)
      ends.settle()
      assert.notEqual(ends.planes[0].sending, undefined)
      assert.equal(ends.planes[0].sending, ends.planes[1].sending)
      ends.check()
      ends.pass(31_000)
      for (const plane of ends.planes) assert.ok(plane.keys.size <= 8)
    }),
    { numRuns: 300 },
  )
})

test('messages are read strictly, and nothing that is not one throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      decodeLinkMessage(bytes)
      const ends = new Ends()
      ends.connect()
      for (const link of ends.links) link.receive(bytes, ends.now)
    }),
    { numRuns: 300 },
  )
})

test('a name that no link has, or a key beyond the last, is refused: the switch takes none', () => {
  for (const type of ['offer', 'answer'] as const)
    for (const [port, keyId] of [
      ...[0, 1, LINK_IDS.first - 1, LINK_IDS.last + 1, 2 ** 32].map(each => [each, 0]),
      [LINK_IDS.first, KEY_IDS],
    ]) {
      const ends = new Ends()
      ends.connect()
      const { publicKey } = newEphemeral()
      // Of the exchange that is under way, so that an answer would count.
      const offer = decodeLinkMessage(ends.wires[0][0].payload) as { generation: number }
      const words = { generation: offer.generation, publicKey, endpoints: [] }
      const message = encodeLinkMessage({ type, port, keyId, ...words })
      assert.equal(ends.links[type === 'offer' ? 1 : 0].receive(message, ends.now), false)
    }
})
