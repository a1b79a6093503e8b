// Whether routes that name an address to probe still lead to it. Pure: time, chance and echo requests come in.

import type { IpAddress } from '../../state/address6.ts'

/**
 * Where requests leave: through this machine's kernel, with the source address that it chooses or with this one, or by a port of the
 * switch, whatever its routes say.
 */
export type EchoOrigin = 'kernel' | { readonly source: IpAddress } | { readonly port: number }

/** A route and what it is judged by. */
export interface ProbedRoute {
  readonly id: string
  /** Answers echo requests as long as the route leads anywhere. */
  readonly address: IpAddress
  readonly from: EchoOrigin
}

/** One echo request. */
export interface EchoRequest {
  /** Names, with the sequence, the request in `answered`. */
  readonly target: number
  readonly sequence: number
  readonly address: IpAddress
  readonly from: EchoOrigin
}

export interface RouteProberInit {
  /** ms, of a clock that never goes back. */
  now: () => number
  /** From 0 up to but not including 1. */
  random: () => number
  /** Sends a request. False when it cannot be asked from here at all, which says nothing about the route. */
  ping: (request: EchoRequest) => boolean
}

/** ms between two requests to one address, give or take a tenth. */
export const PROBE_INTERVAL_MS = 300
/** So many without an answer, one after the other, and a route fails: within 1.3 s. */
export const MISSES = 3
/** So many answers without a miss, over `HOLD_MS` at least, and it is good again. */
export const ANSWERS = 10
export const HOLD_MS = 5000
/** It doubles with each failure of one that was good for less than `STEADY_MS`. */
export const MAX_HOLD_MS = 60_000
export const STEADY_MS = 120_000
/** Addresses probed, each with its origin. */
export const MAX_TARGETS = 256

const JITTER = 0.2
/** ms until an address is tried again that could not be asked. */
const UNABLE_MS = 1000
/** Requests whose answer still counts, the latest ones. */
const WINDOW = 4

interface Target {
  readonly number: number
  readonly address: IpAddress
  readonly from: EchoOrigin
  routes: Set<string>
  nextAt: number
  /** Of the latest request; the first has 1. */
  sequence: number
  lastAnswered: number
  /** For the latest requests, by sequence modulo `WINDOW`. */
  readonly answered: boolean[]
  failing: boolean
  /** Answers since the last miss, while failing, and when the first of them came. */
  streak: number
  streakFrom: number
  /** ms for which the answers must last, 0 before the first failure. */
  hold: number
  goodSince: number
}

/** The owner calls `poll` when it says, and `answered` for what came. */
export class RouteProber {
  /** `failing` is another than before. */
  onChange: () => void = () => {}
  /** Addresses that are beyond `MAX_TARGETS` and not probed: their routes never fail. */
  unprobed = 0
  readonly #init: RouteProberInit
  #targets = new Map<string, Target>()
  readonly #byNumber = new Map<number, Target>()
  #lastNumber = 0

  constructor(init: RouteProberInit) {
    this.#init = init
  }

  /** Replaces the routes. Of an address that is probed already everything stays known. */
  set(routes: readonly ProbedRoute[]): void {
    const kept = new Map<string, Target>()
    const beyond = new Set<string>()
    for (const { id, address, from } of routes) {
      const key = `${address} ${JSON.stringify(from)}`
      let target = kept.get(key)
      if (target === undefined) {
        if (kept.size === MAX_TARGETS) {
          beyond.add(key)
          continue
        }
        target = this.#targets.get(key) ?? this.#newTarget(address, from)
        target.routes = new Set()
        kept.set(key, target)
      }
      target.routes.add(id)
    }
    this.unprobed = beyond.size
    this.#targets = kept
    this.#byNumber.clear()
    for (const target of kept.values()) this.#byNumber.set(target.number, target)
  }

  /** Ids of the routes that do not lead to what they are judged by. A new one is good until it is found to fail. */
  failing(): Set<string> {
    const ids = new Set<string>()
    for (const { failing, routes } of this.#targets.values()) {
      if (failing) for (const id of routes) ids.add(id)
    }
    return ids
  }

  /** Asks what is to be asked now; answers that came are given before. Returns when to call again, ms; infinity when never. */
  poll(): number {
    const now = this.#init.now()
    let next = Number.POSITIVE_INFINITY
    let changed = false
    for (const target of this.#targets.values()) {
      if (target.nextAt <= now) changed = this.#turn(target, now) || changed
      next = Math.min(next, target.nextAt)
    }
    if (changed) this.onChange()
    return next
  }

  /** An answer came to a request. What is unknown, late or came before is passed over. */
  answered(number: number, sequence: number): void {
    const target = this.#byNumber.get(number)
    if (target === undefined || sequence < 1 || sequence > target.sequence) return
    if (sequence <= target.sequence - WINDOW || target.answered[sequence % WINDOW]) return
    target.answered[sequence % WINDOW] = true
    target.lastAnswered = Math.max(target.lastAnswered, sequence)
    if (!target.failing) return
    const now = this.#init.now()
    if (target.streak++ === 0) target.streakFrom = now
    if (target.streak < ANSWERS || now - target.streakFrom < target.hold) return
    target.failing = false
    target.goodSince = now
    this.onChange()
  }

  #newTarget(address: IpAddress, from: EchoOrigin): Target {
    return {
      number: ++this.#lastNumber,
      address,
      from,
      routes: new Set(),
      nextAt: this.#init.now() + PROBE_INTERVAL_MS * this.#init.random(),
      sequence: 0,
      lastAnswered: 0,
      answered: new Array<boolean>(WINDOW).fill(true),
      failing: false,
      streak: 0,
      streakFrom: 0,
      hold: 0,
      goodSince: Number.NEGATIVE_INFINITY,
    }
  }

  /** Judges by the requests made so far and makes the next; true when the target has begun to fail. */
  #turn(target: Target, now: number): boolean {
    const begins = !target.failing && target.sequence - target.lastAnswered >= MISSES
    if (begins) {
      target.failing = true
      const steady = now - target.goodSince >= STEADY_MS
      target.hold = steady || target.hold === 0 ? HOLD_MS : Math.min(2 * target.hold, MAX_HOLD_MS)
      target.streak = 0
    }
    const { number, address, from } = target
    const sequence = target.sequence + 1
    if (!this.#init.ping({ target: number, sequence, address, from })) {
      target.nextAt = now + UNABLE_MS
      return begins
    }
    // The request that leaves the window here can be answered no more.
    if (!target.answered[sequence % WINDOW]) target.streak = 0
    target.answered[sequence % WINDOW] = false
    target.sequence = sequence
    target.nextAt = now + PROBE_INTERVAL_MS * (1 + JITTER * (this.#init.random() - 0.5))
    return begins
  }
}
