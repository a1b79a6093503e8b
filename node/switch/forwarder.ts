// The way of a packet: from a datagram or the TUN, through decryption and the checks of a router, to the next hop.

import { randomFillSync } from 'node:crypto'
import { OCC_EXIT, OCC_MAGIC, PING } from '../vpn/in-tunnel.ts'
import { Answers, REFUSAL, type Refusal } from './answers.ts'
import { KERNEL } from './busy-poll.ts'
import { Coalescer } from './coalescer.ts'
import { COUNTER } from './counters.ts'
import { OPEN } from './data-limits.ts'
import { isDnsQuery } from './dns-query.ts'
import { planFragments, writeFragment } from './fragment.ts'
import { planFragments6, writeFragment6 } from './fragment6.ts'
import type { ErrorOrigin } from './icmp.ts'
import { isIpv6, packetLength, spendHop } from './ip-packet.ts'
import { destination, IPV4, PROTOCOL, protocol, source, totalLength, validate } from './ipv4.ts'
import { DESTINATION6, IPV6, IPV6_MIN_MTU, isLinkScoped, SOURCE6, totalLength6, validate6 } from './ipv6.ts'
import type { Keys } from './keys.ts'
import type { Links } from './links.ts'
import type { Overlay6 } from './overlay6.ts'
import type { PortEchoes } from './port-echoes.ts'
import type { PortSender } from './port-sender.ts'
import type { Ports } from './ports.ts'
import { isProbe } from './probe.ts'
import { Segmenter } from './segmenter.ts'
import type { SessionPaths } from './session-paths.ts'
import { KEY_IDS } from './shared.ts'
import { Arena } from './sys/arena.ts'
import type { ReceiveBatch } from './sys/receive-batch.ts'
import { ForwardingTable, NEXT_HOP } from './table.ts'
import { ForwardingTable6 } from './table6.ts'
import { DIRECTION } from './tap-ring.ts'
import type { Taps } from './taps.ts'
import { clampMss } from './tcp.ts'
import type { Tun } from './tun.ts'

/** What the packet path has to tell the endpoint. Called with slots of open ports. */
export interface Notices {
  /** Datagram of the control channel: `length` bytes at `at` of `batch.data`, number i of the batch. */
  control(socket: number, batch: ReceiveBatch, i: number, at: number, length: number): void
  floated(port: number): void
  exited(port: number): void
  /** DNS query, a valid IPv4 packet of `length` bytes, to an address of this machine, which has no TUN. */
  query(packet: Arena, length: number): void
}

export interface ForwarderParts {
  ports: Ports
  keys: Keys
  sender: PortSender
  links: Links
  sessions: SessionPaths
  echoes: PortEchoes
  counters: Float64Array
  taps: Taps
  /** Undefined: the switch itself answers to its addresses. */
  tun: Tun | undefined
  notices: Notices
  /** Where ICMP errors come from. */
  origin: ErrorOrigin
  /** Undefined: IPv6 is not forwarded. */
  overlay6?: Overlay6
}

/** Longest IP packet. */
const MAX_PACKET = 65535
/** No port: the packet came from the TUN or was made here. */
const NO_PORT = 0
const DATA_V2 = 9
/** Opcodes of the control channel: 3 soft reset, 4 control, 5 ack, 7 and 10 client resets, 11 control with WKc. */
const CONTROL_OPCODES = (1 << 3) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 10) | (1 << 11)

/** Forwards packets; knows no socket and no loop. One packet at a time is in here. */
export class Forwarder {
  /** Swapped whole by the owner. */
  table = ForwardingTable.build([])
  /** Of IPv6 prefixes beside the overlay's own addresses, which are where their IPv4 addresses are. */
  table6 = ForwardingTable6.build([])
  readonly #ports: Ports
  readonly #keys: Keys
  readonly #sender: PortSender
  readonly #links: Links
  readonly #sessions: SessionPaths
  readonly #echoes: PortEchoes
  readonly #counters: Float64Array
  readonly #taps: Taps
  /** Its first word is how many captures run. */
  readonly #tapped: Int32Array
  readonly #tun: Tun | undefined
  readonly #notices: Notices
  readonly #overlay6: Overlay6 | undefined
  readonly #answers: Answers
  /** The packet being forwarded. */
  #packet: Arena
  /** Where the next packet from a port is put. */
  #room: Arena
  /** What the TUN gave: a packet, or a super-packet and its segments. */
  readonly #read = new Arena(MAX_PACKET + 1)
  readonly #segmenter = new Segmenter()
  /** What goes to the TUN is put together here; undefined where the kernel takes single packets only. */
  readonly #coalescer: Coalescer | undefined
  /** What is made from it: an ICMP message or a fragment. */
  readonly #answer = new Arena(MAX_PACKET + 1)
  readonly #ping = new Arena(PING.length)
  /** Of the IPv6 packet that was fragmented last; a cell, since a number of 32 bits in a field is an object of its own. */
  readonly #fragmentId = randomFillSync(new Int32Array(1))

  constructor(parts: ForwarderParts) {
    const { ports, keys, sender, links, sessions, echoes, counters, taps, tun, notices, origin, overlay6 } =
      parts
    this.#ports = ports
    this.#keys = keys
    this.#sender = sender
    this.#links = links
    this.#sessions = sessions
    this.#echoes = echoes
    this.#counters = counters
    this.#taps = taps
    this.#tapped = taps.open
    this.#tun = tun
    this.#notices = notices
    this.#overlay6 = overlay6
    this.#answers = new Answers(counters, origin, overlay6, this.#answer)
    this.#ping.bytes.set(PING)
    if (tun?.offload === true)
      this.#coalescer = new Coalescer(tun, (packets, bytes, taken) => this.#wrote(packets, bytes, taken))
    this.#room = this.#coalescer?.packet ?? new Arena(MAX_PACKET + 1)
    this.#packet = this.#room
  }

  /** Takes datagram `i` of the batch, which came by listening socket `socket`. */
  datagram(socket: number, batch: ReceiveBatch, i: number): void {
    const length = batch.length(i)
    if (batch.truncated(i)) {
      this.#counters[COUNTER.rxDatagrams]++
      this.#counters[COUNTER.badLength]++
      return
    }
    batch.readControl(i)
    const start = batch.dataAt(i)
    const step = batch.segment > 0 && batch.segment < length ? batch.segment : length
    for (let done = 0; done < length || done === 0; done += step) {
      this.#counters[COUNTER.rxDatagrams]++
      this.#classify(socket, batch, i, start + done, Math.min(step, length - done))
      if (length === 0) return
    }
  }

  #classify(socket: number, batch: ReceiveBatch, i: number, at: number, length: number): void {
    if (length < 1) {
      this.#counters[COUNTER.badLength]++
      return
    }
    const opcode = batch.data.bytes[at] >> 3
    if (opcode === DATA_V2) this.#data(socket, batch, i, at, length)
    else if (((1 << opcode) & CONTROL_OPCODES) !== 0 && opcode < 32)
      this.#notices.control(socket, batch, i, at, length)
    else this.#counters[COUNTER.unknownOpcode]++
  }

  #data(socket: number, batch: ReceiveBatch, i: number, at: number, length: number): void {
    if (length < 8) {
      this.#counters[COUNTER.badLength]++
      return
    }
    const header = batch.data.view.getUint32(at)
    const port = this.#ports.find(header & 0xffffff)
    if (port === 0) {
      this.#counters[COUNTER.unknownPeer]++
      return
    }
    const key = this.#ports.keys[port * KEY_IDS + ((header >>> 24) & 7)]
    if (key === 0) {
      this.#counters[COUNTER.unknownKey]++
      return
    }
    const size = this.#keys.open(key, batch.data, at, length, this.#packet, 0)
    if (size < 0) {
      this.#counters[
        size === OPEN.badTag ? COUNTER.badTag : size === OPEN.replayed ? COUNTER.replayed : COUNTER.badLength
      ]++
      return
    }
    // An empty payload proves the key but moves nothing.
    if (size === 0) return
    if (!this.#ports.cameByPath(port, socket, batch, i)) {
      if (!this.#ports.float(port, socket, batch, i)) {
        this.#drop(COUNTER.floatRefused, port, size)
        return
      }
      this.#counters[COUNTER.floated]++
      this.#links.moved(port)
      this.#sessions.moved(port)
      this.#notices.floated(port)
    } else {
      this.#ports.noteLocal(port, batch)
    }
    this.#ports.countReceived(port, size)
    this.#counters[COUNTER.rxPackets]++
    this.#counters[COUNTER.rxBytes] += size
    if (this.#tapped[0] !== 0) this.#taps.passes(port, DIRECTION.in, this.#packet, 0, size)
    const version = this.#packet.bytes[0] >> 4
    if (version === 4) this.#fromPort(port, size)
    else if (version === 6 && this.#overlay6 !== undefined) this.#fromPort6(port, size, this.#overlay6)
    else this.#inTunnel(port, size)
  }

  #inTunnel(port: number, size: number): void {
    const { bytes } = this.#packet
    if (this.#ports.link[port] !== 0) {
      if (isProbe(this.#packet, size)) this.#links.received(port, this.#packet)
      else this.#drop(COUNTER.notIpv4, port, size)
    } else if (size === PING.length && matches(bytes, PING)) {
      this.#counters[COUNTER.pingRx]++
    } else if (size > OCC_MAGIC.length && matches(bytes, OCC_MAGIC)) {
      if (bytes[OCC_MAGIC.length] === OCC_EXIT) this.#notices.exited(port)
    } else {
      this.#drop(COUNTER.notIpv4, port, size)
    }
  }

  #valid(from: number, size: number): boolean {
    if (validate(this.#packet.bytes, this.#packet.view, 0, size) === IPV4.ok) return true
    this.#drop(COUNTER.badIp, from, size)
    return false
  }

  #fromPort(port: number, size: number): void {
    if (!this.#valid(port, size)) return
    const { view } = this.#packet
    if (!this.#ports.admits(port, source(view, 0))) {
      this.#drop(COUNTER.spoofedSource, port, size)
      return
    }
    const length = totalLength(view, 0)
    if (protocol(view, 0) === PROTOCOL.icmp && this.#sessions.received(port, this.#packet, length)) return
    if (this.#echoes.received(port, this.#packet, length)) return
    this.#route(port, this.table.lookup(destination(view, 0)), length)
  }

  /** Whether it is sound, and may go beyond the link it came by. */
  #valid6(from: number, size: number): boolean {
    const { view } = this.#packet
    const isSound = validate6(view, 0, size) === IPV6.ok
    if (isSound && !isLinkScoped(view, 0)) return true
    this.#drop(isSound ? COUNTER.linkScope : COUNTER.badIp, from, size)
    return false
  }

  #fromPort6(port: number, size: number, overlay6: Overlay6): void {
    if (!this.#valid6(port, size)) return
    const { view } = this.#packet
    const admitted = overlay6.has(view, SOURCE6)
      ? this.#ports.admits(port, view.getInt32(SOURCE6 + 12))
      : !overlay6.covers(view, SOURCE6) && this.#ports.admits6(port, view, SOURCE6)
    if (!admitted) {
      this.#drop(COUNTER.spoofedSource, port, size)
      return
    }
    const length = totalLength6(view, 0)
    if (this.#echoes.received6(port, this.#packet, length)) return
    this.#route(port, this.#lookup6(overlay6), length)
  }

  #lookup6(overlay6: Overlay6): number {
    const { view } = this.#packet
    return overlay6.has(view, DESTINATION6)
      ? this.table.lookup(view.getInt32(DESTINATION6 + 12))
      : this.table6.lookup(view, DESTINATION6)
  }

  /** Takes one packet or super-packet from the TUN: of how many packets; 0 when none waited. */
  fromTun(): number {
    const tun = this.#tun
    const size = tun === undefined ? 0 : tun.read(this.#read)
    if (tun === undefined || size === 0) return 0
    this.#counters[COUNTER.tunRxBytes] += size
    this.#packet = this.#read
    const packets = this.#fromKernel(tun, size)
    this.#packet = this.#room
    this.#counters[COUNTER.tunRxPackets] += packets
    return packets
  }

  #fromKernel(tun: Tun, size: number): number {
    const version = this.#packet.bytes[0] >> 4
    const overlay6 = version === 6 ? this.#overlay6 : undefined
    if (version !== 4 && overlay6 === undefined) {
      this.#drop(COUNTER.notIpv4, NO_PORT, size)
      return 1
    }
    if (overlay6 === undefined ? !this.#valid(NO_PORT, size) : !this.#valid6(NO_PORT, size)) return 1
    const packets = tun.offload ? this.#segmenter.begin(this.#packet, size, tun.virtio) : 1
    const hop =
      overlay6 === undefined ? this.table.lookup(destination(this.#packet.view, 0)) : this.#lookup6(overlay6)
    // What the kernel sent here is not to come back to it.
    if (packets === 0) this.#drop(COUNTER.badOffload, NO_PORT, size)
    else if (packets > 1 && hop >= 0) this.#segments(hop, size)
    else this.#single(hop, size)
    return Math.max(1, packets)
  }

  /** Sends on the kernel's packet, or drops the super-packet that has no way as the one packet it was given as. */
  #single(hop: number, size: number): void {
    if (this.#tapped[0] !== 0) this.#taps.passes(NO_PORT, DIRECTION.in, this.#packet, 0, size)
    if (hop === NEXT_HOP.tun || hop === NEXT_HOP.local) this.#refuse(NO_PORT, REFUSAL.unreachable)
    else this.#route(NO_PORT, hop, packetLength(this.#packet, 0))
  }

  /** Sends the segments of the kernel's super-packet to a port. */
  #segments(hop: number, size: number): void {
    const port = this.#ports.find(hop)
    if (port === 0) {
      this.#single(NEXT_HOP.unreachable, size)
      return
    }
    while (this.#segmenter.next()) {
      if (this.#tapped[0] !== 0)
        this.#taps.passes(NO_PORT, DIRECTION.in, this.#packet, this.#segmenter.at, this.#segmenter.length)
      // All are refused like the first, which is as long as any.
      if (!this.#toPort(NO_PORT, port, this.#segmenter.length, this.#segmenter.at)) return
    }
  }

  /** Gives the TUN what it is still to get of this turn. */
  flush(): void {
    this.#coalescer?.flush()
  }

  /** Forgets it, after a turn that failed. */
  clear(): void {
    this.#coalescer?.clear()
    this.#packet = this.#room
  }

  /** Sends the packet of `length` bytes that came from port `from` to its next hop. */
  #route(from: number, hop: number, length: number): void {
    if (hop >= 0) {
      const port = this.#ports.find(hop)
      if (port === 0) this.#refuse(from, REFUSAL.unreachable)
      // Two controllers that each hold the other for the way must not play ball with the packet.
      else if (port === from && this.#ports.link[port] !== 0) this.#drop(COUNTER.sentBack, from, length)
      else if (from !== NO_PORT && !spendHop(this.#packet, 0)) {
        this.#refuse(from, REFUSAL.noHopLeft)
      } else {
        clampMss(this.#packet, 0, Math.min(this.#mtuOf(from), this.#ports.mtu[port]))
        this.#toPort(from, port, length)
        this.#ports.routedFrom = from
        this.#ports.routedTo = port
      }
    } else if (hop === NEXT_HOP.tun && this.#tun?.takes(this.#packet) === true) {
      clampMss(this.#packet, 0, Math.min(this.#mtuOf(from), this.#tun.mtu))
      this.#toTun(length)
      this.#ports.routedFrom = from
      this.#ports.routedTo = KERNEL
    } else if (hop === NEXT_HOP.tun || hop === NEXT_HOP.local) {
      this.#toSelf(from)
    } else if (hop === NEXT_HOP.unreachable) {
      this.#refuse(from, REFUSAL.unreachable)
    } else {
      this.#refuse(from, REFUSAL.noRoute)
    }
  }

  /** The MTU of the way that a packet came. */
  #mtuOf(from: number): number {
    return from === NO_PORT ? (this.#tun?.mtu ?? MAX_PACKET) : this.#ports.mtu[from]
  }

  /** Sends the packet of `length` bytes at `at`, in fragments where need be; false when it may have none. */
  #toPort(from: number, port: number, length: number, at = 0): boolean {
    const mtu = this.#ports.mtu[port]
    if (length <= mtu) {
      this.#sender.send(port, this.#packet, length, at)
      return true
    }
    if (isIpv6(this.#packet, at)) return this.#toNarrowPort6(from, port, length, at)
    const fragments = planFragments(this.#packet, at, mtu)
    if (fragments === 0) {
      this.#refuse(from, REFUSAL.tooBig, mtu)
      return false
    }
    this.#counters[COUNTER.fragmented]++
    for (let i = 0; i < fragments; i++) {
      this.#sender.send(port, this.#answer, writeFragment(this.#packet, at, mtu, i, this.#answer, 0))
    }
    return true
  }

  /** The same of an IPv6 packet that is longer than the port's MTU: 1,280 bytes pass everywhere. */
  #toNarrowPort6(from: number, port: number, length: number, at: number): boolean {
    const mtu = this.#ports.mtu[port]
    if (length <= IPV6_MIN_MTU && this.#inFragments6(port, this.#packet, at, this.#answer)) return true
    this.#refuse(from, REFUSAL.tooBig, Math.max(mtu, IPV6_MIN_MTU))
    return false
  }

  /** Sends an IPv6 packet in fragments, each made in `target`; false when it cannot have any. */
  #inFragments6(port: number, packet: Arena, at: number, target: Arena): boolean {
    const mtu = this.#ports.mtu[port]
    const fragments = planFragments6(packet, at, mtu)
    if (fragments === 0) return false
    this.#counters[COUNTER.fragmented]++
    const id = ++this.#fragmentId[0]
    for (let i = 0; i < fragments; i++)
      this.#sender.send(port, target, writeFragment6(packet, at, mtu, i, id, target, 0))
    return true
  }

  /** Sends the in-tunnel ping to a port. */
  ping(port: number): void {
    if (this.#sender.send(port, this.#ping, PING.length)) this.#counters[COUNTER.pingTx]++
  }

  /** Gives the packet that came from a port to the kernel, alone or with others of its flow. */
  #toTun(length: number): void {
    const coalescer = this.#coalescer
    // Before packets are put together: those are what passes.
    if (coalescer !== undefined && this.#tapped[0] !== 0)
      this.#taps.passes(NO_PORT, DIRECTION.out, this.#packet, 0, length)
    if (coalescer === undefined) {
      this.#writeTun(this.#packet, length)
      return
    }
    coalescer.take(length)
    this.#room = coalescer.packet
    this.#packet = this.#room
  }

  #writeTun(packet: Arena, length: number): void {
    const taken = this.#tun?.write(packet, length) === true
    this.#wrote(1, length, taken)
    if (this.#tapped[0] === 0) return
    if (taken) this.#taps.passes(NO_PORT, DIRECTION.out, packet, 0, length)
    else this.#taps.dropped(COUNTER.tunFailed, NO_PORT, DIRECTION.out, packet, 0, length)
  }

  #wrote(packets: number, bytes: number, taken: boolean): void {
    if (!taken) {
      this.#counters[COUNTER.tunFailed] += packets
      return
    }
    this.#counters[COUNTER.tunTxPackets] += packets
    this.#counters[COUNTER.tunTxBytes] += bytes
  }

  /** The packet is for the switch's own address, and there is no TUN to take it. */
  #toSelf(from: number): void {
    if (!isIpv6(this.#packet, 0) && isDnsQuery(this.#packet.view, 0)) {
      this.#notices.query(this.#packet, totalLength(this.#packet.view, 0))
      return
    }
    const length = this.#answers.echo(this.#packet)
    if (length === 0) this.#refuse(from, REFUSAL.notForUs)
    else this.#answerTo(from, length)
  }

  /** Sends a valid packet of this machine's own to the port that its destination is at, if any. */
  fromSelf(packet: Uint8Array): void {
    this.#packet.bytes.set(packet)
    const hop = this.table.lookup(destination(this.#packet.view, 0))
    if (hop >= 0 && this.#ports.find(hop) !== 0) this.#route(NO_PORT, hop, packet.length)
    else this.#drop(COUNTER.unreachable, NO_PORT, packet.length)
  }

  /** Counts the packet, which came from port `from` and goes no further. */
  #drop(counter: number, from: number, length: number): void {
    this.#counters[counter]++
    if (this.#tapped[0] !== 0) this.#taps.dropped(counter, from, DIRECTION.in, this.#packet, 0, length)
  }

  /** Counts the packet, drops it, and tells its sender why. */
  #refuse(from: number, refusal: Refusal, mtu = 0): void {
    this.#counters[refusal.counter]++
    if (this.#tapped[0] !== 0) {
      const length = packetLength(this.#packet, 0)
      this.#taps.dropped(refusal.counter, from, DIRECTION.in, this.#packet, 0, length)
    }
    const length = this.#answers.error(refusal, this.#packet, from === NO_PORT, mtu, this.#ports.now)
    if (length > 0) this.#answerTo(from, length)
  }

  /** Sends the answer made here back to where the packet came from, cut to that port's MTU where need be. */
  #answerTo(from: number, length: number): void {
    if (from === NO_PORT) this.#writeTun(this.#answer, length)
    else if (length <= this.#ports.mtu[from]) this.#sender.send(from, this.#answer, length)
    // The packet that is answered is needed no more.
    else if (!isIpv6(this.#answer, 0) || !this.#inFragments6(from, this.#answer, 0, this.#packet)) {
      this.#counters[COUNTER.tooBig]++
      if (this.#tapped[0] !== 0)
        this.#taps.dropped(COUNTER.tooBig, from, DIRECTION.out, this.#answer, 0, length)
    }
  }
}

/** True when `bytes` has `pattern` at its start; the caller has checked that it is long enough. */
function matches(bytes: Uint8Array, pattern: Uint8Array): boolean {
  for (let i = 0; i < pattern.length; i++) {
    if (bytes[i] !== pattern[i]) return false
  }
  return true
}
