// How many connections strangers may hold, and how fast they may make new ones. Counted before TLS costs anything.
import type { Socket } from 'node:net'
import { normalizeIP } from '@fastify/rate-limit'
import { TokenBucket } from '../vpn/token-bucket.ts'

export interface ConnectionLimits {
  /** At a time. @default 256 */
  total?: number
  /** At a time, of one IPv4 address or IPv6 /64. @default 64 */
  perAddress?: number
  /** New ones a second, of one address; twice as many at once. @default 50 */
  perSecond?: number
}

interface Caller {
  open: number
  readonly bucket: TokenBucket
}

/** Addresses remembered; of those without a connection the one that was heard of longest ago is forgotten first. */
export const MAX_CALLERS = 4096

export class Connections {
  readonly #limits: Required<ConnectionLimits>
  readonly #now: () => number
  readonly #callers = new Map<string, Caller>()
  #open = 0

  constructor({ total = 256, perAddress = 64, perSecond = 50 }: ConnectionLimits, now: () => number) {
    this.#limits = { total, perAddress, perSecond }
    this.#now = now
  }

  get callers(): number {
    return this.#callers.size
  }

  /** Ends a connection that is one too many. */
  admit(socket: Socket): void {
    const address = callerOf(socket.remoteAddress)
    const caller = this.#callers.get(address) ?? this.#newCaller()
    // Heard of now: it goes to the end.
    this.#callers.delete(address)
    this.#callers.set(address, caller)
    const { total, perAddress } = this.#limits
    const isAllowed = caller.bucket.take(this.#now()) && caller.open < perAddress && this.#open < total
    if (!isAllowed) {
      socket.destroy()
      return
    }
    caller.open++
    this.#open++
    socket.once('close', () => {
      caller.open--
      this.#open--
    })
  }

  #newCaller(): Caller {
    if (this.#callers.size >= MAX_CALLERS) {
      for (const [address, { open }] of this.#callers) {
        if (open > 0) continue
        this.#callers.delete(address)
        break
      }
    }
    return { open: 0, bucket: new TokenBucket(this.#limits.perSecond, this.#now()) }
  }
}

/** An IPv4 address, or the /64 that an IPv6 address is in: whoever has one has them all. */
export function callerOf(address: string | undefined): string {
  return address === undefined ? '' : normalizeIP(address)
}
