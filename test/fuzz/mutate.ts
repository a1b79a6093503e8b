// A mutating fuzzer: real packets, damaged in the ways that break parsers, from one seed. A failure prints the seed and
// the input; OVERMESH_SEED repeats the run, OVERMESH_FUZZ sets how many inputs each target gets.
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Longest input made, in bytes: more than a datagram that any of the sockets takes whole. */
export const MAX_INPUT = 4096

export const INPUTS = Number(process.env.OVERMESH_FUZZ ?? 100_000)
/** Heap that may be left over after all inputs: what the engine itself keeps, not what an input could. */
export const ALLOWED_GROWTH = 4 * 1024 * 1024
/** Lengths and counts at which parsers go wrong. */
const EDGES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 20, 21, 31, 32, 60, 63, 64, 127, 128, 129, 255]
const WIDE_EDGES = [0, 1, 19, 20, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff]

/** Numbers from a seed (mulberry32): the same on every machine. */
export class Random {
  #state: number
  constructor(seed: number) {
    this.#state = seed | 0
  }

  /** An integer from 0 to `below` - 1. */
  integer(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(from.length)]
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i++) bytes[i] = this.integer(256)
    return bytes
  }
}

/** One of the corpus, damaged in one to six ways; one in sixteen is left as it is, another is nothing but noise. */
export function mutate(random: Random, corpus: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const kind = random.integer(16)
  let bytes: Uint8Array<ArrayBuffer> = random.pick(corpus).slice(0, MAX_INPUT)
  if (kind === 0) return bytes
  if (kind === 1) return random.bytes(random.integer(random.pick([4, 64, 2048])))
  for (let times = 1 + random.integer(6); times > 0; times--) {
    bytes = random.pick(MUTATIONS)(bytes, random, corpus).slice(0, MAX_INPUT)
  }
  return bytes
}

type Mutation = (
  bytes: Uint8Array<ArrayBuffer>,
  random: Random,
  corpus: readonly Uint8Array[],
) => Uint8Array<ArrayBuffer>

/** Most fields that steer a parser stand near the beginning. */
const place = (bytes: Uint8Array, random: Random): number =>
  random.integer(random.integer(2) === 0 ? Math.min(bytes.length, 32) : bytes.length)

const concat = (...parts: Uint8Array[]): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const MUTATIONS: readonly Mutation[] = [
  function flipBit(bytes, random) {
    if (bytes.length > 0) bytes[place(bytes, random)] ^= 1 << random.integer(8)
    return bytes
  },
  function setByte(bytes, random) {
    if (bytes.length > 0) {
      bytes[place(bytes, random)] = random.integer(2) === 0 ? random.integer(256) : random.pick(EDGES)
    }
    return bytes
  },
  function setWord(bytes, random) {
    if (bytes.length < 2) return bytes
    const at = Math.min(place(bytes, random), bytes.length - 2)
    const value =
      random.integer(4) === 0 ? bytes.length - at + random.integer(5) - 2 : random.pick(WIDE_EDGES)
    bytes[at] = value >>> 8
    bytes[at + 1] = value
    return bytes
  },
  function truncate(bytes, random) {
    return bytes.slice(0, random.integer(bytes.length + 1))
  },
  function extend(bytes, random) {
    return concat(bytes, random.bytes(1 + random.integer(random.pick([4, 64, 1500]))))
  },
  function remove(bytes, random) {
    const from = random.integer(bytes.length + 1)
    return concat(bytes.subarray(0, from), bytes.subarray(from + 1 + random.integer(16)))
  },
  function repeat(bytes, random) {
    const from = random.integer(bytes.length + 1)
    const to = from + 1 + random.integer(32)
    return concat(bytes.subarray(0, to), bytes.subarray(from))
  },
  function splice(bytes, random, corpus) {
    const other = random.pick(corpus)
    return concat(
      bytes.subarray(0, random.integer(bytes.length + 1)),
      other.subarray(random.integer(other.length + 1)),
    )
  },
]

export interface Target {
  name: string
  /** Sound inputs. */
  corpus: readonly Uint8Array[]
  /** Feeds one input to the code under test; throws if that throws or breaks a promise. The input may be changed. */
  check: (input: Uint8Array<ArrayBuffer>) => void
  /** @default 100000, or OVERMESH_FUZZ */
  inputs?: number
}

/** Declares a test that feeds a target mutations of its corpus, and looks for what is left on the heap at the end. */
export function fuzz({ name, corpus, check, inputs = INPUTS }: Target): void {
  test(`fuzz: ${name}`, () => {
    const seed = Number(process.env.OVERMESH_SEED ?? randomInt(2 ** 31))
    const random = new Random(seed)
    const run = (count: number): void => {
      for (let i = 0; i < count; i++) {
        const input = mutate(random, corpus)
        const shown = input.slice()
        try {
          check(input)
        } catch (error) {
          const hex = Buffer.from(shown).toString('hex')
          throw new Error(`OVERMESH_SEED=${seed}, input ${hex}`, { cause: error })
        }
      }
    }
    for (const sound of corpus) check(sound.slice())
    // The first tenth lets the engine compile and the code under test make its tables.
    const warmUp = Math.ceil(inputs / 10)
    run(warmUp)
    const before = heapUsed()
    run(inputs - warmUp)
    const growth = heapUsed() - before
    if (growth > ALLOWED_GROWTH) {
      throw new Error(`OVERMESH_SEED=${seed}: ${inputs} inputs left ${growth} bytes on the heap`)
    }
  })
}

let collect: (() => void) | undefined

/** Bytes of JavaScript's that are in use, buffers among them. */
export function heapUsed(): number {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  // Memory of buffers is freed in the background; the next collection waits for that.
  for (let times = 0; times < 3; times++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
