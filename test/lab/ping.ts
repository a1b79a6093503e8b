// ping(8) that keeps account of every packet: what was lost, what came twice, how long the gaps were.
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'

export interface PingReport {
  /** Requests whose answer arrived or should have. */
  sent: number
  received: number
  /** Requests without an answer: sequence numbers that are missing between the first and the last one answered. */
  lost: number
  duplicates: number
  /** The longest time between two answers, in seconds. */
  longestGap: number
  /** Seconds from the last answer to the end. */
  silence: number
  /** When the last answer came, in seconds since 1970. */
  lastAnswerAt: number
  /** Round trips in milliseconds, ascending. */
  roundTrips: number[]
}

export interface PingOptions {
  /** Seconds between requests. @default 0.05 */
  interval?: number
  /** Bytes of payload. @default 56 */
  size?: number
  /** Requests; without it until `stop`. */
  count?: number
}

export class Ping {
  readonly #process: LabProcess
  private constructor(process: LabProcess) {
    this.#process = process
  }

  static async start(from: Host, address: string, options: PingOptions = {}): Promise<Ping> {
    const { interval = 0.05, size = 56, count } = options
    const argv = ['ping', '-D', '-O', '-n', '-i', String(interval), '-s', String(size)]
    if (count !== undefined) argv.push('-c', String(count), '-W', '2')
    return new Ping(await from.spawn(`ping ${from.name} to ${address}`, [...argv, address]))
  }

  /** Waits for one more answer; throws if none comes. */
  async answered(seconds = 10): Promise<void> {
    await this.#process.waitFor(/bytes from .* time=/, seconds, this.#process.mark())
  }

  async stop(): Promise<PingReport> {
    const stoppedAt = Date.now() / 1000
    await this.#process.stop('SIGINT')
    return readPing(this.#process.output, stoppedAt)
  }

  /** Waits for the end of a ping with a `count`. */
  async finish(): Promise<PingReport> {
    await this.#process.ended
    return readPing(this.#process.output, Date.now() / 1000)
  }
}

/** Reads the output of `ping -D`. */
export function readPing(output: string, stoppedAt: number): PingReport {
  const answers = [
    ...output.matchAll(/^\[([\d.]+)\] \d+ bytes from .*icmp_seq=(\d+) .*time=([\d.]+) ms(.*)$/gm),
  ]
  const seen = new Set<number>()
  const roundTrips: number[] = []
  let duplicates = 0
  let longestGap = 0
  let previous: number | undefined
  // The sequence number has 16 bits: a long run counts on.
  let turns = 0
  let last = 0
  for (const [, at, sequence, milliseconds, rest] of answers) {
    if (rest.includes('DUP')) {
      duplicates++
      continue
    }
    if (Number(sequence) < last - 32768) turns++
    last = Number(sequence)
    seen.add(turns * 65536 + last)
    roundTrips.push(Number(milliseconds))
    if (previous !== undefined) longestGap = Math.max(longestGap, Number(at) - previous)
    previous = Number(at)
  }
  let lowest = Number.POSITIVE_INFINITY
  let highest = Number.NEGATIVE_INFINITY
  for (const sequence of seen) {
    lowest = Math.min(lowest, sequence)
    highest = Math.max(highest, sequence)
  }
  const sent = seen.size === 0 ? 0 : highest - lowest + 1
  return {
    sent,
    received: seen.size,
    lost: sent - seen.size,
    duplicates,
    longestGap,
    lastAnswerAt: previous ?? Number.NEGATIVE_INFINITY,
    silence: previous === undefined ? Number.POSITIVE_INFINITY : stoppedAt - previous,
    roundTrips: roundTrips.sort((a, b) => a - b),
  }
}

/** Whether an address answers, once. */
export async function reaches(from: Host, address: string): Promise<boolean> {
  return (await from.attempt(['ping', '-c', '1', '-W', '1', address])).code === 0
}

/** The value below which a share of the samples lies; of sorted numbers. */
export const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
