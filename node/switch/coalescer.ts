// Puts the TCP segments of a flow together again before the TUN, so that the kernel takes up to 64 KiB of them at once
// (generic receive offload, as the kernel's tcp_gro_receive does it). What cannot be put together goes as it is, at once
// unless something of its flow is held. IPv4 and IPv6.
import { fold, wordSum } from './checksum.ts'
import { PROTOCOL, writeHeaderChecksum } from './ipv4.ts'
import { Arena } from './sys/arena.ts'
import { TCP, TCP_FLAG, tcpHeaderLength } from './tcp.ts'
import { GSO } from './virtio.ts'

/** Longest IP packet, and super-packet. */
const MAX_PACKET = 65535
/** Flows of which something is held at once. */
const MAX_FLOWS = 16
/** Segments of a super-packet, and packets that are held at once. */
const MAX_SEGMENTS = 64
const MAX_HELD = 128

const IPV4_HEADER = 20
const IPV6_HEADER = 40
/** Version 4, five words of header. */
const PLAIN_IPV4 = 0x45
const DONT_FRAGMENT = 0x4000
const ICMPV6 = 58
/** TCP's PSH in the word of its flags, in the machine's order. */
const PUSH_IN_WORD = TCP_FLAG.psh << 8

/** Where packets go: a TUN. Both say whether it took the packet. */
export interface PacketSink {
  /** Takes `length` bytes at the start of `packet`, as they are. */
  write(packet: Arena, length: number): boolean
  /** Begins a super-packet, to be cut again into segments of `size` bytes of payload; its checksum is left open. */
  beginSuper(
    type: number,
    headerLength: number,
    size: number,
    checksumStart: number,
    checksumOffset: number,
  ): void
  /** Adds bytes to it, at most {@link MAX_SEGMENTS} times. */
  add(packet: Arena, offset: number, length: number): void
  writeSuper(): boolean
}

/** What was written, and what the sink did not take. */
export type Written = (packets: number, bytes: number, taken: boolean) => void

export class Coalescer {
  /** Where the next packet is to be put. Another one after each `take`. */
  packet = new Arena(MAX_PACKET + 1)
  readonly #sink: PacketSink
  readonly #written: Written
  readonly #free: Arena[] = []
  #freeCount = 0
  /** Flows 0 to `#flows` - 1 hold something. */
  #flows = 0
  /** The packets of each flow, in order. */
  readonly #held: Arena[] = []
  readonly #count = new Int32Array(MAX_FLOWS)
  /** Of the super-packet so far. */
  readonly #length = new Int32Array(MAX_FLOWS)
  /** Headers of each packet, and payload of the first. */
  readonly #headers = new Int32Array(MAX_FLOWS)
  readonly #size = new Int32Array(MAX_FLOWS)
  /** The sequence number that comes next. */
  readonly #next = new Int32Array(MAX_FLOWS)
  /** Which flow is the next to make room. */
  #oldest = 0

  constructor(sink: PacketSink, written: Written) {
    this.#sink = sink
    this.#written = written
    for (let i = 0; i < MAX_HELD; i++) this.#free.push(new Arena(MAX_PACKET + 1))
    this.#freeCount = MAX_HELD
    for (let i = 0; i < MAX_FLOWS * MAX_SEGMENTS; i++) this.#held.push(this.packet)
  }

  /** Takes the valid IP packet of `length` bytes in `packet`: it is written now, or by `flush` at the latest. */
  take(length: number): void {
    const { packet } = this
    if (this.#freeCount === 0) this.flush()
    const start = transportAt(packet)
    if (start === 0 || start + TCP.flags >= length) {
      // No TCP, or a fragment: of which flow, its header alone does not tell.
      if (mayBeTcp(packet)) this.flush()
      this.#one(packet, length)
      return
    }
    let flow = this.#find(packet, start)
    const headers = start + tcpHeaderLength(packet, start, length)
    if (!mayJoin(packet, start, headers, length)) {
      if (flow >= 0) this.#write(flow)
      this.#one(packet, length)
      return
    }
    const push = (packet.bytes[start + TCP.flags] & TCP_FLAG.psh) !== 0
    if (flow >= 0) {
      if (this.#continues(flow, packet, start, headers, length)) {
        this.#hold(flow, packet, headers, length)
        if (push || length - headers < this.#size[flow]) this.#write(flow)
        return
      }
      this.#write(flow)
    }
    if (push) {
      this.#one(packet, length)
      return
    }
    if (this.#flows === MAX_FLOWS) {
      this.#oldest = (this.#oldest + 1) % MAX_FLOWS
      this.#write(this.#oldest)
    }
    flow = this.#flows++
    this.#count[flow] = 0
    this.#length[flow] = headers
    this.#headers[flow] = headers
    this.#size[flow] = length - headers
    this.#next[flow] = packet.view.getInt32(start + TCP.sequence)
    this.#hold(flow, packet, headers, length)
  }

  /** Writes all that is held. */
  flush(): void {
    while (this.#flows > 0) this.#write(this.#flows - 1)
  }

  /** Forgets all that is held. */
  clear(): void {
    while (this.#flows > 0) this.#forget(this.#flows - 1)
  }

  #one(packet: Arena, length: number): void {
    this.#written(1, length, this.#sink.write(packet, length))
  }

  /** The flow of which something is held and to which this packet belongs; -1 if there is none. */
  #find(packet: Arena, start: number): number {
    const { words } = packet
    const ports = words[start >> 2]
    for (let flow = this.#flows - 1; flow >= 0; flow--) {
      const first = this.#held[flow * MAX_SEGMENTS].words
      if (first[start >> 2] === ports && sameAddresses(words, first)) return flow
    }
    return -1
  }

  #hold(flow: number, packet: Arena, headers: number, length: number): void {
    this.#held[flow * MAX_SEGMENTS + this.#count[flow]++] = packet
    this.#length[flow] += length - headers
    this.#next[flow] = (this.#next[flow] + length - headers) | 0
    this.packet = this.#free[--this.#freeCount]
  }

  /** Whether this packet is the next segment of what is held, alike in everything that the kernel will make of one. */
  #continues(flow: number, packet: Arena, start: number, headers: number, length: number): boolean {
    const first = this.#held[flow * MAX_SEGMENTS]
    const payload = length - headers
    const count = this.#count[flow]
    return (
      packet.view.getInt32(start + TCP.sequence) === this.#next[flow] &&
      headers === this.#headers[flow] &&
      payload <= this.#size[flow] &&
      count < MAX_SEGMENTS &&
      this.#length[flow] + payload <= MAX_PACKET &&
      sameTerms(packet, first, count) &&
      sameTcp(packet, first, start, headers)
    )
  }

  /** Writes what is held of a flow, and forgets the flow. */
  #write(flow: number): void {
    const base = flow * MAX_SEGMENTS
    const count = this.#count[flow]
    const length = this.#length[flow]
    const headers = this.#headers[flow]
    const first = this.#held[base]
    if (count === 1) {
      this.#one(first, length)
    } else {
      const payloads = length - headers
      const size = this.#size[flow]
      const last = this.#held[base + count - 1]
      const four = first.bytes[0] >>> 4 === 4
      const start = four ? IPV4_HEADER : IPV6_HEADER
      makeSuper(first, last, start, length)
      this.#sink.beginSuper(four ? GSO.tcp4 : GSO.tcp6, headers, size, start, TCP.checksum)
      this.#sink.add(first, 0, headers + size)
      for (let i = 1; i < count; i++)
        this.#sink.add(this.#held[base + i], headers, Math.min(size, payloads - i * size))
      this.#written(count, payloads + count * headers, this.#sink.writeSuper())
    }
    this.#forget(flow)
  }

  /** Frees what is held of a flow, and puts the last flow into its place. */
  #forget(flow: number): void {
    for (let i = 0; i < this.#count[flow]; i++)
      this.#free[this.#freeCount++] = this.#held[flow * MAX_SEGMENTS + i]
    const last = --this.#flows
    if (last === flow) return
    for (let i = 0; i < this.#count[last]; i++)
      this.#held[flow * MAX_SEGMENTS + i] = this.#held[last * MAX_SEGMENTS + i]
    this.#count[flow] = this.#count[last]
    this.#length[flow] = this.#length[last]
    this.#headers[flow] = this.#headers[last]
    this.#size[flow] = this.#size[last]
    this.#next[flow] = this.#next[last]
  }
}

/** Where the header of TCP begins, if that follows a plain header of IP and the packet is whole; else 0. */
function transportAt({ bytes, view }: Arena): number {
  if (bytes[0] === PLAIN_IPV4)
    return bytes[9] === PROTOCOL.tcp && (view.getUint16(6) & ~DONT_FRAGMENT) === 0 ? IPV4_HEADER : 0
  return isIpv6(bytes) && bytes[6] === PROTOCOL.tcp ? IPV6_HEADER : 0
}

function isIpv6(bytes: Uint8Array): boolean {
  return bytes[0] >>> 4 === 6
}

/** Whether a packet without `transportAt` may be of a flow of TCP, behind options, extension headers or as a fragment. */
function mayBeTcp({ bytes }: Arena): boolean {
  if (isIpv6(bytes)) return bytes[6] !== PROTOCOL.udp && bytes[6] !== ICMPV6
  return bytes[9] === PROTOCOL.tcp
}

/** Whether it is a plain segment of data with a right checksum: what is wrong must reach the kernel as it came. */
function mayJoin({ bytes, view }: Arena, start: number, headers: number, length: number): boolean {
  if (headers === start || headers >= length) return false
  if ((bytes[start + TCP.flags] & ~TCP_FLAG.psh) !== TCP_FLAG.ack) return false
  const transport = length - start
  return fold(pseudoSum(view, start, transport) + wordSum(view, start, transport)) === 0xffff
}

/** The sum of the pseudo-header of a transport of `length` bytes behind a plain header that ends at `start`. */
function pseudoSum(view: DataView, start: number, length: number): number {
  const addresses = start === IPV4_HEADER ? wordSum(view, 12, 8) : wordSum(view, 8, 32)
  return addresses + PROTOCOL.tcp + length
}

function sameAddresses(a: Int32Array, b: Int32Array): boolean {
  if (((a[0] ^ b[0]) & 0xf0) !== 0) return false
  if ((a[0] & 0xf0) === 0x40) return a[3] === b[3] && a[4] === b[4]
  for (let i = 2; i < 10; i++) if (a[i] !== b[i]) return false
  return true
}

/** Whether the headers of IP agree, of the first packet of a flow and the one that comes `count` after it. */
function sameTerms(packet: Arena, first: Arena, count: number): boolean {
  const { bytes, view } = packet
  if (isIpv6(bytes)) return packet.words[0] === first.words[0] && bytes[7] === first.bytes[7]
  const fragments = view.getUint16(6)
  if (bytes[1] !== first.bytes[1] || bytes[8] !== first.bytes[8] || fragments !== first.view.getUint16(6))
    return false
  // The identification of what is never fragmented means nothing (RFC 6864 section 4.1).
  return fragments !== 0 || view.getUint16(4) === ((first.view.getUint16(4) + count) & 0xffff)
}

/** Whether the headers of TCP agree but for sequence number, checksum and PSH. */
function sameTcp({ words }: Arena, { words: first }: Arena, start: number, headers: number): boolean {
  const at = start >> 2
  if (words[at + 2] !== first[at + 2] || ((words[at + 3] ^ first[at + 3]) & ~PUSH_IN_WORD) !== 0) return false
  if ((words[at + 4] ^ first[at + 4]) >>> 16 !== 0) return false
  for (let i = at + 5; i < headers >> 2; i++) if (words[i] !== first[i]) return false
  return true
}

/** Makes the headers of the first packet those of the super-packet. */
function makeSuper(first: Arena, last: Arena, start: number, length: number): void {
  const { bytes, view } = first
  bytes[start + TCP.flags] |= last.bytes[start + TCP.flags] & TCP_FLAG.psh
  if (start === IPV4_HEADER) {
    view.setUint16(2, length)
    writeHeaderChecksum(first, 0)
  } else {
    view.setUint16(4, length - IPV6_HEADER)
  }
  view.setUint16(start + TCP.checksum, fold(pseudoSum(view, start, length - start)))
}
