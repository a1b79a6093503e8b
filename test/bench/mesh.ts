// `npm run bench:mesh`: failover beside a pair of stock servers, how fast changes count elsewhere, and a join with many
// records. Prints a table and writes all figures to test/bench/results/.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { prepareForLab } from '../requirements.ts'
import { type CutTimes, measureCuts } from './cuts.ts'
import { measureDrain, measureFailover, measureStockFailover } from './failover.ts'
import { type FullJoin, measureFullJoin } from './full-join.ts'
import { type ChangeTimes, measureChanges } from './mesh-changes.ts'
import { measureSize, type SizeFigures } from './mesh-sizes.ts'

const PARTS = ['failover', 'drain', 'cuts', 'changes', 'join', 'sizes'] as const
type Part = (typeof PARTS)[number]

const USAGE = `usage: npm run bench:mesh -- [--only PART,…] [--kills N] [--changes N] [--records N] [--sizes N,…]
  --only PART,… of ${PARTS.join(', ')} (all)
  --kills N     times that the server in use is killed, or drained (20); a quarter of it for cuts
  --changes N   credentials made and revoked (100)
  --records N   in the mesh that is joined (100000)
  --sizes N,…   controllers of simulated meshes that take 1,000 writes in a minute (5,20,50,100)
`

interface Figures {
  failover?: { overmesh: number[]; openvpn: number[] }
  drain?: number[]
  cuts?: CutTimes
  changes?: ChangeTimes
  join?: FullJoin
  sizes?: SizeFigures[]
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

function readOptions(args: string[]) {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args,
    options: { only: text, kills: text, changes: text, records: text, sizes: text },
  })
  const whole = (name: 'kills' | 'changes' | 'records', fallback: number, most: number): number => {
    const value = Number(values[name] ?? fallback)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new Error(`--${name} is a whole number from 1 to ${most}`)
  }
  const parts = new Set((values.only?.split(',') ?? PARTS) as Part[])
  for (const part of parts)
    if (!PARTS.includes(part)) throw new Error(`--only ${part}: not one of ${PARTS.join(', ')}`)
  const sizes = (values.sizes ?? '5,20,50,100').split(',').map(Number)
  if (!sizes.every(size => Number.isInteger(size) && size >= 2 && size <= 200))
    throw new Error('--sizes are whole numbers from 2 to 200')
  return {
    parts,
    sizes,
    kills: whole('kills', 20, 1000),
    changes: whole('changes', 100, 10_000),
    records: whole('records', 100_000, 1_000_000),
  }
}

/** @param share from 0 to 1 */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

const spread = (values: readonly number[], unit: string, digits = 2): string =>
  `median ${quantile(values, 0.5).toFixed(digits)} ${unit}, 95 % ${quantile(values, 0.95).toFixed(digits)} ${unit}, ` +
  `99 % ${quantile(values, 0.99).toFixed(digits)} ${unit}, most ${Math.max(...values).toFixed(digits)} ${unit} of ${values.length}`

function report({ failover, drain, cuts, changes, join: joined, sizes }: Figures): string {
  const lines: string[] = []
  if (failover) {
    const { overmesh, openvpn } = failover
    const ratio = quantile(overmesh, 0.95) / quantile(openvpn, 0.95)
    lines.push(
      `without traffic after kill -9, overmesh   ${spread(overmesh, 's')}  (to reach: 95 % within 5 s)`,
      `the same, pair of stock openvpn           ${spread(openvpn, 's')}`,
      `overmesh / openvpn                        ${ratio.toFixed(2)}`,
    )
  }
  if (drain) lines.push(`without traffic at a drain                ${spread(drain, 's')}  (to reach: 1 s)`)
  if (cuts) {
    lines.push(
      `equal records after a cut was healed      ${spread(cuts.healed, 's')}  (to reach: 2 s)`,
      `without traffic until a way round is found ${spread(cuts.detour, 's')}  (to reach: 2 s)`,
    )
  }
  if (changes) {
    lines.push(
      `a new credential is known elsewhere after ${spread(changes.known, 'ms', 0)}  (to reach: 1000 ms)`,
      `a revocation ends the session elsewhere   ${spread(changes.ended, 'ms', 0)}  (to reach: 99 % within 1000 ms)`,
    )
  }
  if (joined) {
    lines.push(
      `join with ${joined.records} records               ${joined.joinSeconds.toFixed(1)} s  (to reach: 20 s)`,
      `start with them                           ${joined.startSeconds.toFixed(1)} s, ${joined.residentMebibytes.toFixed(0)} MiB resident`,
      `a new record is known there after         ${spread(joined.newRecordMs, 'ms', 0)}  (to reach: 100 ms)`,
    )
  }
  for (const { controllers, bytesPerWrite, cpuMsPerWrite, idleBytesPerSecond, convergedMs } of sizes ?? []) {
    lines.push(
      `a write among ${String(controllers).padStart(3)} controllers          ` +
        `${(bytesPerWrite / 1000).toFixed(1)} kB in all, ${cpuMsPerWrite.toFixed(2)} ms of CPU at each; equal ${convergedMs} ms after the last of 1,000; ` +
        `idle ${(idleBytesPerSecond / 1000).toFixed(1)} kB/s each`,
    )
  }
  return `${lines.join('\n')}\n`
}

let options: ReturnType<typeof readOptions>
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`bench:mesh: ${(error as Error).message}\n${USAGE}`)
  process.exit(2)
}
const reasons = prepareForLab(say)
if (reasons.length > 0) {
  for (const reason of reasons) process.stderr.write(`bench:mesh: ${reason}\n`)
  process.exit(1)
}
const { parts, kills } = options
const figures: Figures = {}
if (parts.has('changes')) {
  say(`${options.changes} credentials, made and revoked`)
  figures.changes = await measureChanges(options.changes)
}
if (parts.has('join')) {
  say(`a join with ${options.records} records`)
  figures.join = await measureFullJoin(options.records)
}
if (parts.has('sizes')) {
  figures.sizes = []
  for (const size of options.sizes) {
    say(`1,000 writes among ${size} simulated controllers`)
    figures.sizes.push(await measureSize(size, 1000))
  }
}
if (parts.has('drain')) {
  say(`${kills} drains`)
  figures.drain = await measureDrain(kills)
}
if (parts.has('cuts')) {
  say('cuts')
  figures.cuts = await measureCuts(Math.max(1, Math.ceil(kills / 4)))
}
if (parts.has('failover')) {
  say(`${kills} kills, overmesh`)
  const overmesh = await measureFailover(kills)
  say(`${kills} kills, a pair of stock servers`)
  figures.failover = { overmesh, openvpn: await measureStockFailover(kills) }
}
process.stdout.write(`\n${report(figures)}`)
const directory = join(import.meta.dirname, 'results')
mkdirSync(directory, { recursive: true })
const file = join(directory, `mesh-${new Date().toISOString().replaceAll(/[:.]/g, '-')}.json`)
writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`)
process.stdout.write(`\nall figures: ${file}\n`)
