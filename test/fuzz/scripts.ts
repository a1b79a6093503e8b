// Fuzzing of what has a life of its own: fast-check makes scripts of what a peer does, and each is played to living
// connections. As with the mutating fuzzer, OVERMESH_SEED repeats a run and OVERMESH_FUZZ sets how long it is.
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { allocatedBytes } from '../../node/switch/sys/allocated.ts'
import { ALLOWED_GROWTH, heapUsed, INPUTS } from './mutate.ts'

export interface Scripts<Script> {
  name: string
  script: fc.Arbitrary<Script>
  /** Of 100,000 inputs of the mutating fuzzer, so many scripts. */
  scripts: number
  /** Throws when something breaks a promise. */
  play(script: Script): Promise<void>
}

/** Declares a test that plays scripts one after the other, and looks for what is left in memory at the end. */
export function fuzzScripts<Script>({ name, script, scripts, play }: Scripts<Script>): void {
  test(`fuzz: ${name}`, async () => {
    const seed = Number(process.env.OVERMESH_SEED ?? randomInt(2 ** 31))
    const numRuns = Math.max(10, Math.ceil((scripts * INPUTS) / 100_000))
    const warmUp = Math.ceil(numRuns / 4)
    let played = 0
    let before = await memory()
    const property = fc.asyncProperty(script, async script => {
      if (played++ === warmUp) before = await memory()
      await play(script)
    })
    try {
      // What broke is broken for the next script too: a simpler one would tell nothing.
      await fc.assert(property, { seed, numRuns, endOnFailure: true })
    } catch (error) {
      throw new Error(`OVERMESH_SEED=${seed}`, { cause: error })
    }
    const after = await memory()
    for (const kind of ['heap', 'native'] as const) {
      const growth = after[kind] - before[kind]
      if (growth <= ALLOWED_GROWTH) continue
      throw new Error(`OVERMESH_SEED=${seed}: ${numRuns} scripts left ${growth} bytes of ${kind} memory`)
    }
  })
}

/** Bytes in use: by JavaScript, and by all that calls malloc, OpenSSL above all. */
async function memory(): Promise<{ heap: number; native: number }> {
  // Sockets that nobody has any more are taken down in turns of the event loop.
  for (let times = 0; times < 2; times++) {
    heapUsed()
    await setTimeout(20)
  }
  return { heap: heapUsed(), native: allocatedBytes() ?? 0 }
}
