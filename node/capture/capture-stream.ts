// One capture as a pcapng file that grows: packets from the switch's ring while its reader takes them. What the reader is
// too slow for stays in the ring, and once that is full the switch counts what it cannot put there.
import { Readable } from 'node:stream'
import type { Capture } from '../service-capture.ts'
import { type Captured, DIRECTION, type RingReader, THIS_MACHINE } from '../switch/tap-ring.ts'
import { dropReason } from './drop-reasons.ts'
import { interfaceBlock, packetBlock, sectionBlock, statisticsBlock } from './pcapng.ts'

/** ms between two looks at the ring. */
const POLL_MS = 20
/** Bytes that are handed on at once, about. */
const CHUNK = 64 * 1024
/** How long a reader has to take the rest, ms. */
const END_GRACE = 10_000

/** What a port is called. */
export interface PortName {
  name: string
  description: string
}

/** How a capture ended. */
export type CaptureEnd = 'seconds' | 'packets' | 'bytes' | 'asked' | 'stopping' | 'abandoned'

const END_WORDS: Record<CaptureEnd, string> = {
  seconds: 'the time was over',
  packets: 'there were as many packets as asked for',
  bytes: 'it had become as long as may be',
  asked: 'it was ended',
  stopping: 'the controller stops',
  abandoned: 'nobody read it any more',
}

export interface CaptureStreamInit {
  id: number
  ring: RingReader
  seconds: number
  packets: number
  /** Most bytes of the file. */
  bytes: number
  /** Most bytes of a packet. */
  snap: number
  /** What writes the file. */
  application: string
  nameOf: (packet: Pick<Captured, 'peerId' | 'address'>) => PortName
  /** Longest packet that the TUN gives whole: a longer one is a super-packet. */
  tunMtu: number
  /** The switch is to write no more. Called once. */
  release: () => void
  /** Called once, after `release`. */
  ended: (how: CaptureEnd, packets: number, lost: number) => void
}

export class CaptureStream extends Readable implements Capture {
  readonly id: number
  readonly #init: CaptureStreamInit
  readonly #timers: NodeJS.Timeout[]
  readonly #start = now()
  /** Numbers of the interfaces, and the packets of each. */
  readonly #interfaces = new Map<string, number>()
  readonly #received: number[] = []
  #blocks: Buffer[] = []
  #waiting = 0
  #written = 0
  #packets = 0
  #lost = 0
  #wanted = false
  #ended = false

  constructor(init: CaptureStreamInit) {
    super({ highWaterMark: 2 * CHUNK })
    this.id = init.id
    this.#init = init
    this.#put(sectionBlock(init.application))
    // Readers want one before the first packet, and a file without packets is to be one all the same.
    this.#interface({ peerId: THIS_MACHINE, address: 0 })
    this.#timers = [
      setInterval(() => this.#pump(), POLL_MS),
      setTimeout(() => this.finish('seconds'), init.seconds * 1000),
    ]
    for (const timer of this.#timers) timer.unref()
  }

  get content(): AsyncIterable<Uint8Array> {
    return this
  }

  /** Ends it: what is in the ring, and the end of the file, still come. */
  finish(how: CaptureEnd): void {
    if (this.#ended) return
    this.#end()
    const isCut = how === 'packets' || how === 'bytes'
    // No more than the ring holds.
    while (!isCut && this.#take()) this.#flush()
    const lost = isCut ? this.#lost : this.#init.ring.lost
    this.#put(...this.#statistics(how, lost))
    this.#flush()
    this.push(null)
    setTimeout(() => this.destroy(), END_GRACE).unref()
    this.#init.ended(how, this.#packets, lost)
  }

  override _read(): void {
    this.#wanted = true
    this.#pump()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#ended) {
      this.#end()
      this.#init.ended('abandoned', this.#packets, this.#init.ring.lost)
    }
    callback(error)
  }

  #end(): void {
    this.#ended = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#init.release()
  }

  /** Hands on what there is, as long as it is wanted. */
  #pump(): void {
    while (this.#wanted && !this.#ended && (this.#take() || this.#waiting > 0)) {
      if (this.#packets >= this.#init.packets) this.finish('packets')
      else if (this.#written >= this.#init.bytes) this.finish('bytes')
      else this.#flush()
    }
  }

  /** Takes about a chunk of packets from the ring; false when there are none. */
  #take(): boolean {
    const { ring, packets } = this.#init
    const before = this.#packets
    while (this.#waiting < CHUNK && this.#packets < packets) {
      const packet = ring.next()
      if (packet === undefined) break
      this.#packet(packet)
    }
    ring.release()
    return this.#packets > before
  }

  #packet(packet: Captured): void {
    const number = this.#interface(packet)
    this.#packets++
    this.#received[number]++
    this.#lost += packet.lost
    this.#put(
      packetBlock({
        interface: number,
        time: BigInt(packet.seconds) * 1_000_000_000n + BigInt(packet.nanoseconds),
        bytes: packet.bytes,
        length: packet.length,
        direction: packet.direction,
        lost: packet.lost,
        comment: this.#comment(packet),
      }),
    )
  }

  #comment({ drop, peerId, direction, length }: Captured): string | undefined {
    const parts = drop < 0 ? [] : [`dropped: ${dropReason(drop)}`]
    if (peerId === THIS_MACHINE && direction === DIRECTION.in && length > this.#init.tunMtu)
      parts.push('a super-packet of the kernel, not cut into packets yet')
    return parts.length > 0 ? parts.join('; ') : undefined
  }

  /** Its number; at the first packet it is told. */
  #interface(of: Pick<Captured, 'peerId' | 'address'>): number {
    // A client that connects again is the same interface.
    const key = of.address === 0 ? `port ${of.peerId}` : `session ${of.address}`
    const known = this.#interfaces.get(key)
    if (known !== undefined) return known
    const { name, description } = this.#init.nameOf(of)
    this.#put(interfaceBlock(name, description, this.#init.snap))
    this.#interfaces.set(key, this.#received.length)
    return this.#received.push(0) - 1
  }

  /** The first interface's are the last: they tell of the whole, too. */
  #statistics(how: CaptureEnd, lost: number): Buffer[] {
    const [start, end] = [this.#start, now()]
    const words = [`ended: ${END_WORDS[how]}`]
    if (lost > 0) words.push(`${lost} packets, of any interface, were lost by the capture`)
    return this.#received
      .map((received, number) => {
        const init = { interface: number, start, end, received }
        return statisticsBlock(
          number === 0 ? { ...init, lost, comment: words.join('; ') } : { ...init, lost: 0 },
        )
      })
      .reverse()
  }

  #put(...blocks: Buffer[]): void {
    for (const block of blocks) this.#waiting += block.length
    this.#blocks.push(...blocks)
  }

  #flush(): void {
    if (this.#waiting === 0) return
    const chunk = Buffer.concat(this.#blocks, this.#waiting)
    this.#written += chunk.length
    this.#blocks = []
    this.#waiting = 0
    this.#wanted = this.push(chunk)
  }
}

/** Nanoseconds since 1970, to the millisecond. */
function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
