// `npm test [-- SUITE…|FILE…]`: checks what the chosen suites need, runs them by node:test, and closes with the totals.
// Suites: unit, property, fuzz (files in parallel), simulation (one file at a time), lab (first those files that bear company, three
// at a time, then the others one at a time). All of them by default.
import { existsSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { run } from 'node:test'
import { spec, type TestEvent } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { sweepStaleLabs } from './lab/namespaces.ts'
import { prepareForLab } from './requirements.ts'

const SUITES = ['unit', 'property', 'simulation', 'fuzz', 'lab'] as const
type Suite = (typeof SUITES)[number]

/** A test file that takes longer hangs. */
const FILE_TIMEOUT_MS = 10 * 60_000
const LAB_FILE_TIMEOUT_MS = 15 * 60_000
/** Hundreds of lives, on all cores. */
const SIMULATION_TIMEOUT_MS = 20 * 60_000

/**
 * Files of the lab that measure neither gaps nor speeds, and hold to no time that a busy machine might not keep: each has namespaces
 * and directories of its own, and much of what it does is waiting. All others run alone.
 */
const BEARS_COMPANY = new Set(
  [
    ...['command', 'demo', 'docs', 'gateway', 'gateway6', 'ipsec-trouble'],
    ...[
      'ipsec-certificates',
      'ipsec-names',
      'ipsec-unprivileged',
      'ipsec-words',
      'kinds-of-clients',
      'mesh-ipv6',
    ],
    ...[
      'mesh-keys',
      'mesh-members',
      'mesh-move',
      'openvpn3',
      'probe',
      'seal',
      'switch',
      'versions-of-clients',
    ],
    'webhooks',
  ].map(name => `${name}.test.ts`),
)

/** Of those, so many at a time: most of what they do is waiting. */
const COMPANY = 3

const testDirectory = dirname(fileURLToPath(import.meta.url))
const topDirectory = dirname(testDirectory)

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function fail(lines: string[], status: number): never {
  for (const line of lines) process.stderr.write(`npm test: ${line}\n`)
  process.exit(status)
}

/** The files to run by suite, from the names of suites or files on the command line. */
function chooseFiles(args: string[]): Map<Suite, string[]> {
  const chosen = new Map<Suite, string[]>()
  for (const arg of args.length > 0 ? args : SUITES) {
    if (SUITES.includes(arg as Suite)) {
      chosen.set(arg as Suite, globSync(`${testDirectory}/${arg}/**/*.test.ts`).sort())
    } else if (arg.endsWith('.test.ts') && existsSync(arg)) {
      const suite = relative(testDirectory, resolve(arg)).split('/')[0] as Suite
      if (!SUITES.includes(suite)) fail([`${arg} belongs to none of the suites ${SUITES.join(', ')}`], 2)
      chosen.set(suite, [...(chosen.get(suite) ?? []), resolve(arg)])
    } else {
      fail([`"${arg}" is neither a suite (${SUITES.join(', ')}) nor a test file`], 2)
    }
  }
  return chosen
}

/**
 * The events of several runs, one after the other, as if they were one: the numbers of each run's closing lines are added up
 * in `totals`, and said once at the end.
 */
async function* inTurn(
  runs: (() => AsyncIterable<TestEvent>)[],
  totals: Map<string, number>,
): AsyncGenerator<TestEvent> {
  const closing: TestEvent[] = []
  /** Makes the reporter list what failed. */
  let summary: TestEvent | undefined
  for (const start of runs) {
    if (interrupted.signal.aborted) break
    for await (const event of start()) {
      noteDuration(event)
      const line = closingLine(event)
      if (event.type === 'test:summary' && event.data.file === undefined) summary = event
      else if (line === undefined) yield event
      else if (totals.has(line.name)) totals.set(line.name, totals.get(line.name)! + line.value)
      else {
        totals.set(line.name, line.value)
        closing.push(event)
      }
    }
  }
  for (const event of closing) {
    const { name } = closingLine(event)!
    yield { ...event, data: { ...event.data, message: `${name} ${totals.get(name)}` } } as TestEvent
  }
  if (summary) yield summary
}

/** "tests 12", "pass 12", "duration_ms 8.1": what node:test says of a whole run. */
function closingLine(event: TestEvent): { name: string; value: number } | undefined {
  if (event.type !== 'test:diagnostic' || event.data.nesting !== 0 || event.data.file !== undefined)
    return undefined
  const match = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(
    event.data.message,
  )
  return match ? { name: match[1], value: Number(match[2]) } : undefined
}

/** Seconds that the tests of each file took. */
const seconds = new Map<string, number>()

function noteDuration({ type, data }: TestEvent): void {
  if ((type !== 'test:pass' && type !== 'test:fail') || data.nesting !== 0 || data.file === undefined) return
  const file = relative(testDirectory, data.file)
  seconds.set(file, (seconds.get(file) ?? 0) + data.details.duration_ms / 1000)
}

/** Where the time went: the files that took longest, if there were many. */
function sayLongest(count: number): void {
  if (seconds.size <= count) return
  say('\nlongest files:')
  for (const [file, took] of [...seconds].sort(([, a], [, b]) => b - a).slice(0, count))
    say(`  ${took.toFixed(0).padStart(4)} s  ${file}`)
}

const chosen = chooseFiles(process.argv.slice(2))
const lab = chosen.get('lab') ?? []
const simulation = chosen.get('simulation') ?? []
const others = [...chosen].flatMap(([suite, files]) =>
  suite === 'lab' || suite === 'simulation' ? [] : files,
)
if (lab.length + simulation.length + others.length === 0) fail(['no test files found'], 1)

if (lab.length > 0) {
  const reasons = prepareForLab(say)
  if (reasons.length > 0) fail(reasons, 1)
  sweepStaleLabs()
}

// What one process has compiled, the next need not: there are thousands, each test file and each command of the lab.
const compiled = mkdtempSync(join(tmpdir(), 'overmesh-compiled-'))
process.env.NODE_COMPILE_CACHE = compiled
process.once('exit', () => rmSync(compiled, { recursive: true, force: true }))

const totals = new Map<string, number>()
const phase = (files: string[], concurrency: number, timeout: number) => () =>
  run({
    files,
    concurrency,
    cwd: topDirectory,
    timeout,
    signal: interrupted.signal,
  }) as AsyncIterable<TestEvent>
const runs = []
if (others.length > 0) runs.push(phase(others, availableParallelism(), FILE_TIMEOUT_MS))
// One file at a time: each takes all cores, and what else ran beside it would be late.
if (simulation.length > 0) runs.push(phase(simulation, 1, SIMULATION_TIMEOUT_MS))
const together = lab.filter(file => BEARS_COMPANY.has(basename(file)))
const alone = lab.filter(file => !BEARS_COMPANY.has(basename(file)))
if (together.length > 0) runs.push(phase(together, COMPANY, LAB_FILE_TIMEOUT_MS))
if (alone.length > 0) runs.push(phase(alone, 1, LAB_FILE_TIMEOUT_MS))

/** Ends the files that run, which clean up after themselves; a second signal ends this program at once. */
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())

Readable.from(inTurn(runs, totals))
  .compose(new spec())
  .on('end', () => {
    if (lab.length > 0) sweepStaleLabs()
    sayLongest(20)
    const { pass = 0, fail = 0, cancelled = 0 } = Object.fromEntries(totals)
    process.exitCode = fail + cancelled > 0 || pass === 0 ? 1 : 0
    if (interrupted.signal.aborted) process.exitCode = 130
  })
  .pipe(process.stdout)
