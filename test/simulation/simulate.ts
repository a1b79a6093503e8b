// `npm run simulate -- [--seeds N] [--seed S] [--first F] [--trace]`: random lives of a mesh, one after the other.
import { parseArgs } from 'node:util'
import { MeshLife } from './mesh-life.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    seed: { type: 'string' },
    first: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
  },
})
const first = Number(values.seed ?? values.first)
const count = values.seed === undefined ? Number(values.seeds) : 1
let failed = 0
for (let seed = first; seed < first + count; seed++) {
  const start = performance.now()
  const life = new MeshLife(seed, values.trace)
  let line: string
  try {
    const { controllers, trace, events, connected, presence, equal } = await life.run()
    line = `seed ${seed} ${controllers} controllers, ${events} events, ${connected}/${presence}/${equal} ms, trace ${trace}`
  } catch (error) {
    failed++
    line = `seed ${seed} FAILED after ${life.world.clockwork.events} events: ${error instanceof Error && values.trace ? error.stack : error}; repeat it by --seed ${seed}`
  }
  if (values.trace) console.log(life.world.clockwork.lines!.join('\n'))
  console.log(`${line} (${Math.round(performance.now() - start)} ms)`)
}
if (failed > 0) {
  console.log(`${failed} of ${count} failed`)
  process.exitCode = 1
}
