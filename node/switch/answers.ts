// What the switch itself says about packets: why one goes no further, and that it is there.
import { COUNTER } from './counters.ts'
import {
  type ErrorOrigin,
  ICMP_ERROR,
  type IcmpError,
  MAX_ERROR_LENGTH,
  writeEchoReply,
  writeError,
} from './icmp.ts'
import { IcmpLimiter } from './icmp-limiter.ts'
import { ICMP6_ERROR, MAX_ERROR6_LENGTH, writeEchoReply6, writeError6 } from './icmpv6.ts'
import { isIpv6 } from './ip-packet.ts'
import { destination, source } from './ipv4.ts'
import { DESTINATION6, SOURCE6 } from './ipv6.ts'
import type { Overlay6 } from './overlay6.ts'
import type { Arena } from './sys/arena.ts'

/** Why a packet is dropped: what its sender is told, by the version of IP, and where it is counted. */
export interface Refusal {
  readonly icmp: IcmpError
  readonly icmp6: IcmpError
  readonly counter: number
}

export const REFUSAL = {
  noRoute: {
    icmp: ICMP_ERROR.networkUnreachable,
    icmp6: ICMP6_ERROR.noRoute,
    counter: COUNTER.noRoute,
  },
  unreachable: {
    icmp: ICMP_ERROR.hostUnreachable,
    icmp6: ICMP6_ERROR.addressUnreachable,
    counter: COUNTER.unreachable,
  },
  noHopLeft: {
    icmp: ICMP_ERROR.timeExceeded,
    icmp6: ICMP6_ERROR.timeExceeded,
    counter: COUNTER.ttlExceeded,
  },
  tooBig: {
    icmp: ICMP_ERROR.fragmentationNeeded,
    icmp6: ICMP6_ERROR.packetTooBig,
    counter: COUNTER.tooBig,
  },
  notForUs: {
    icmp: ICMP_ERROR.protocolUnreachable,
    icmp6: ICMP6_ERROR.unknownNextHeader,
    counter: COUNTER.notForUs,
  },
} as const satisfies Record<string, Refusal>

export class Answers {
  readonly #counters: Float64Array
  readonly #origin: ErrorOrigin
  readonly #overlay6: Overlay6 | undefined
  /** Of errors to this machine's kernel, which takes none from an address of its own: they come from the destination. */
  readonly #kernelOrigin: { address: number; broadcast: number }
  readonly #limiter = new IcmpLimiter()
  /** What is written. */
  readonly #answer: Arena

  /** @param answer has room for the longest packet */
  constructor(counters: Float64Array, origin: ErrorOrigin, overlay6: Overlay6 | undefined, answer: Arena) {
    this.#counters = counters
    this.#origin = origin
    this.#kernelOrigin = { ...origin }
    this.#overlay6 = overlay6
    this.#answer = answer
  }

  /** Writes the reply to a packet that is an echo request: its length, or 0 when it is none. */
  echo(packet: Arena): number {
    const length = isIpv6(packet, 0)
      ? writeEchoReply6(packet, 0, this.#answer, 0)
      : writeEchoReply(packet, 0, this.#answer, 0)
    if (length > 0) this.#counters[COUNTER.echoReplies]++
    return length
  }

  /**
   * Writes what the sender of a dropped packet is told: the length of that, or 0 when it is told nothing.
   * @param toKernel the sender is this machine's kernel
   * @param now monotonic milliseconds
   */
  error(refusal: Refusal, packet: Arena, toKernel: boolean, mtu: number, now: number): number {
    const six = isIpv6(packet, 0)
    const length = six
      ? this.#error6(refusal, packet, toKernel, mtu)
      : this.#error4(refusal, packet, toKernel, mtu)
    if (length === 0) return 0
    // The last 32 bits tell those who have an IPv6 address of the overlay apart.
    const { view } = packet
    if (!this.#limiter.take(six ? view.getUint32(SOURCE6 + 12) : source(view, 0), now)) {
      this.#counters[COUNTER.icmpLimited]++
      return 0
    }
    this.#counters[COUNTER.icmpErrors]++
    return length
  }

  #error4({ icmp }: Refusal, packet: Arena, toKernel: boolean, mtu: number): number {
    this.#kernelOrigin.address = destination(packet.view, 0)
    const origin = toKernel ? this.#kernelOrigin : this.#origin
    const length = writeError(icmp, origin, packet, 0, this.#answer, 0, mtu)
    return length > MAX_ERROR_LENGTH ? 0 : length
  }

  #error6({ icmp6 }: Refusal, packet: Arena, toKernel: boolean, mtu: number): number {
    const gateway = this.#overlay6?.gateway
    const length =
      toKernel || gateway === undefined
        ? writeError6(icmp6, packet, DESTINATION6, packet, 0, this.#answer, 0, mtu)
        : writeError6(icmp6, gateway, 0, packet, 0, this.#answer, 0, mtu)
    return length > MAX_ERROR6_LENGTH ? 0 : length
  }
}
