// `npm run simulate -- [--seeds N] [--first F] [--jobs J]`: random lives of a mesh, each from a seed; those that end badly are
// told with their seed. `--seed S` repeats one, `--trace` with all that happened in it.
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { MeshLife, type Outcome } from './mesh-life.ts'
import { liveSeeds } from './pool.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function describe(seed: number, ms: number, outcome: Outcome): string {
  const { controllers, events, connected, presence, equal, trace } = outcome
  return (
    `seed ${seed}: ${controllers} controllers, ${events} events in ${Math.round(ms)} ms; after healing connected in ` +
    `${connected} ms, presence right ${presence} ms and records equal ${equal} ms later; trace ${trace}`
  )
}

async function repeat(seed: number): Promise<void> {
  const life = new MeshLife(seed, values.trace)
  const start = performance.now()
  try {
    const outcome = await life.run()
    if (values.trace) say(life.world.clockwork.lines!.join('\n'))
    say(describe(seed, performance.now() - start, outcome))
  } catch (error) {
    if (values.trace) say(life.world.clockwork.lines!.join('\n'))
    say(`seed ${seed} FAILED: ${error instanceof Error ? error.stack : error}`)
    process.exitCode = 1
  }
}

async function search(first: number, count: number): Promise<void> {
  const start = performance.now()
  let done = 0
  let failed = 0
  await liveSeeds(first, count, Number(values.jobs), ({ seed, outcome, failure, ms }) => {
    done++
    if (outcome && values.verbose) say(describe(seed, ms, outcome))
    if (failure !== undefined) {
      failed++
      say(`seed ${seed} FAILED, repeat it with \`npm run simulate -- --seed ${seed}\`: ${failure}`)
    }
    if (done % 500 === 0) say(`${done} of ${count} done, ${failed} failed`)
    return true
  })
  const seconds = Math.round((performance.now() - start) / 1000)
  say(`${done} seeds from ${first} on in ${seconds} s: ${failed} failed`)
  if (failed > 0) process.exitCode = 1
}

if (values.seed === undefined) await search(Number(values.first), Number(values.seeds))
else await repeat(Number(values.seed))
