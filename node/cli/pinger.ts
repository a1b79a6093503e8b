// A run of pings as a machine: time and packets go in, requests and lines come out.
import { parseIpv4 } from '../../state/address.ts'
import { parseAddress6 } from '../../state/address6.ts'
import { echoRequest } from '../vpn/client-echo.ts'
import { echoRequest6 } from '../vpn/client-echo6.ts'
import { type EchoAnswer, readEchoAnswer } from './echo.ts'
import { readEchoAnswer6 } from './echo6.ts'

/** How long the last request waits for its answer, in ms. */
const LAST_WAIT = 1000
/** Requests whose answers are still expected; older ones count as lost. */
const MAX_OUTSTANDING = 1024

export interface PingInit {
  /** Our overlay address and the one to ping, of the same version of IP, in canonical text. */
  from: string
  to: string
  /** Requests to send; Infinity for as long as it runs. */
  count: number
  /** Between requests, ms. */
  interval: number
  /** u16 */
  identifier: number
  send: (packet: Uint8Array) => void
  answered?: (ping: Ping) => void
}

/** One answer. */
export interface Ping {
  sequence: number
  /** Who answered. */
  from: string
  ttl: number
  /** ICMP bytes. */
  size: number
  rttMs: number
  /** Why it is no reply. */
  error: string | null
}

export interface PingSummary {
  target: string
  sent: number
  received: number
  errors: number
  lossPercent: number
  /** Of replies; null without any. */
  rttMs: { min: number; average: number; max: number } | null
}

export class Pinger {
  readonly #init: PingInit
  readonly #outstanding = new Map<number, number>()
  #sent = 0
  #received = 0
  #errors = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = 0
  #next: number | undefined

  constructor(init: PingInit) {
    this.#init = init
  }

  /** Every request was answered, or has waited long enough. `now` in ms, monotonic, as everywhere here. */
  done(now: number): boolean {
    if (this.#sent < this.#init.count) return false
    return this.#outstanding.size === 0 || now >= (this.#next ?? now) - this.#init.interval + LAST_WAIT
  }

  /** Sends what is due; returns when to call again. */
  poll(now: number): number {
    const { from, to, count, interval, identifier, send } = this.#init
    this.#next ??= now
    // After a pause of the process one request is sent, not the missed ones at once.
    if (this.#sent < count && now >= this.#next) {
      const sequence = this.#sent & 0xffff
      this.#outstanding.delete(sequence)
      this.#outstanding.set(sequence, now)
      if (this.#outstanding.size > MAX_OUTSTANDING) {
        this.#outstanding.delete(this.#outstanding.keys().next().value!)
      }
      this.#sent++
      this.#next = Math.max(this.#next + interval, now)
      send(requestOf(from, to, identifier, sequence))
    }
    return this.#sent < count ? this.#next : this.#next - interval + LAST_WAIT
  }

  /** Takes any packet that came out of the tunnel; true if it was an answer to one of our requests. */
  receive(packet: Uint8Array, now: number): boolean {
    const answer = readEchoAnswer(packet) ?? readEchoAnswer6(packet)
    if (answer === undefined || answer.identifier !== this.#init.identifier) return false
    if (answer.error === undefined && answer.from !== this.#init.to) return false
    const sentAt = this.#outstanding.get(answer.sequence)
    if (sentAt === undefined) return false
    this.#outstanding.delete(answer.sequence)
    this.#count(answer, now - sentAt)
    return true
  }

  summary(): PingSummary {
    const received = this.#received
    return {
      target: this.#init.to,
      sent: this.#sent,
      received,
      errors: this.#errors,
      lossPercent: this.#sent === 0 ? 0 : rounded((100 * (this.#sent - received)) / this.#sent),
      rttMs:
        received === 0
          ? null
          : { min: rounded(this.#min), average: rounded(this.#sum / received), max: rounded(this.#max) },
    }
  }

  #count(answer: EchoAnswer, rtt: number): void {
    if (answer.error === undefined) {
      this.#received++
      this.#sum += rtt
      this.#min = Math.min(this.#min, rtt)
      this.#max = Math.max(this.#max, rtt)
    } else this.#errors++
    this.#init.answered?.({
      sequence: answer.sequence,
      from: answer.from,
      ttl: answer.ttl,
      size: answer.size,
      rttMs: rounded(rtt),
      error: answer.error ?? null,
    })
  }
}

function requestOf(from: string, to: string, identifier: number, sequence: number): Uint8Array {
  const [source, destination] = [parseIpv4(from), parseIpv4(to)]
  if (source !== undefined && destination !== undefined)
    return echoRequest(source, destination, identifier, sequence)
  return echoRequest6(parseAddress6(from)!, parseAddress6(to)!, identifier, sequence)
}

/** Microseconds are as fine as this gets. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}
