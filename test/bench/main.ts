// `npm run bench`: Overmesh beside Debian's openvpn as the hub of two stock clients, in turn, several rounds. Prints a table
// and writes all figures to test/bench/results/.
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { attempt } from '../lab/command.ts'
import { prepareForLab } from '../requirements.ts'
import { type Crowd, measureProbeCrowd, measureStockCrowd, measureTlsAlone, WEIGHED } from './crowd.ts'
import { measureGateway } from './gateway.ts'
import { measureHeap } from './heap.ts'
import { connectPair, HUB_NAMES, type Hub, type HubName, startHub } from './hubs.ts'
import { type AttachmentCosts, CARRIERS, type Carrier, measureAttachment } from './ipsec.ts'
import { formatResults, type Results, type RoundFigures } from './report.ts'
import { measureLatency, measureSmallPackets, measureThroughput } from './traffic.ts'

const PARTS = [
  'throughput',
  'gateway',
  'ipsec',
  'packets',
  'latency',
  'handshakes',
  'memory',
  'heap',
] as const
type Part = (typeof PARTS)[number]

const USAGE = `usage: npm run bench -- [--rounds N] [--seconds S] [--only PART,…] [--clients N] [--probes N] [--packets N]
  --rounds N    rounds, each with both hubs in turn (3)
  --seconds S   length of one measurement of traffic (6)
  --only PART,… of ${PARTS.join(', ')} (all)
  --clients N   stock clients that connect at once (300)
  --probes N    clients of Overmesh's own that connect at once (500)
  --packets N   packets in millions for the heap (10)
`

interface Options {
  rounds: number
  seconds: number
  parts: Set<Part>
  clients: number
  probes: number
  packets: number
}

function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args,
    options: { rounds: text, seconds: text, only: text, clients: text, probes: text, packets: text },
  })
  const whole = (name: keyof typeof values, fallback: number, most: number): number => {
    const value = Number(values[name] ?? fallback)
    if (Number.isInteger(value) && value >= 1 && value <= most) return value
    throw new Error(`--${name} is a whole number from 1 to ${most}`)
  }
  const parts = new Set((values.only?.split(',') ?? PARTS) as Part[])
  for (const part of parts)
    if (!PARTS.includes(part)) throw new Error(`--only ${part}: not one of ${PARTS.join(', ')}`)
  return {
    rounds: whole('rounds', 3, 100),
    seconds: whole('seconds', 6, 600),
    parts,
    clients: whole('clients', 300, 1000),
    probes: whole('probes', 500, 10_000),
    packets: whole('packets', 10, 1000),
  }
}

const say = (line: string): void => void process.stderr.write(`${line}\n`)

/** Runs something with a hub of its own; shows what the programs said when it fails. */
async function withHub<T>(
  name: HubName,
  work: (hub: Hub) => Promise<T>,
  nodeArgs: string[] = [],
): Promise<T> {
  const hub = await startHub(name, { nodeArgs })
  try {
    return await work(hub)
  } catch (error) {
    process.stderr.write(`${hub.lab.logs(15)}\n`)
    throw error
  } finally {
    await hub.close()
  }
}

async function measureRound(name: HubName, options: Options): Promise<RoundFigures> {
  const { parts, seconds } = options
  const figures: RoundFigures = {}
  if (parts.has('throughput') || parts.has('packets') || parts.has('latency')) {
    await withHub(name, async hub => {
      const pair = await connectPair(hub)
      if (parts.has('throughput')) figures.throughput = await measureThroughput(hub, pair, seconds)
      if (parts.has('packets'))
        figures.smallPackets = await measureSmallPackets(hub, pair, Math.max(1, Math.round(seconds / 3)))
      if (parts.has('latency')) figures.latency = await measureLatency(pair, seconds)
    })
  }
  if (parts.has('gateway')) figures.gateway = await withHub(name, hub => measureGateway(hub, seconds))
  if (parts.has('handshakes') || parts.has('memory')) {
    figures.stockCrowd = await withHub(name, hub => measureStockCrowd(hub, options.clients), WEIGHED)
    figures.probeCrowd = await withHub(name, hub => measureProbeCrowd(hub, options.probes), WEIGHED)
  }
  return figures
}

/** Longest time for the heap's packets, in seconds. */
const HEAP_SECONDS = 300

async function measureAttachments({ rounds, seconds }: Options): Promise<Results['attachments']> {
  const all: Record<Carrier, AttachmentCosts>[] = []
  for (let round = 1; round <= rounds; round++) {
    const costs = {} as Record<Carrier, AttachmentCosts>
    for (const carrier of round % 2 === 1 ? CARRIERS : [...CARRIERS].reverse()) {
      say(`IPsec, round ${round} of ${rounds}: ${carrier}`)
      costs[carrier] = await measureAttachment(carrier, seconds)
    }
    all.push(costs)
  }
  return all
}

async function measureAll(options: Options): Promise<Results> {
  const version = (await attempt(['openvpn', '--version'])).stdout.split('\n', 1)[0]
  const results: Results = {
    startedAt: new Date().toISOString(),
    machine: {
      cpu: cpus()[0].model,
      cores: cpus().length,
      kernel: release(),
      node: process.versions.node,
      loadBefore: loadavg()[0],
      openvpn: /^OpenVPN [\d.]+/.exec(version)?.[0] ?? version,
    },
    rounds: [],
  }
  const tlsAlone: Crowd[] = []
  const roundParts = [...options.parts].some(part => part !== 'heap' && part !== 'ipsec')
  for (let round = 1; roundParts && round <= options.rounds; round++) {
    const figures = {} as Record<HubName, RoundFigures>
    // Every other round the other way about, so that neither always has the warmer machine.
    for (const name of round % 2 === 1 ? HUB_NAMES : [...HUB_NAMES].reverse()) {
      say(`round ${round} of ${options.rounds}: ${name}`)
      figures[name] = await measureRound(name, options)
    }
    if (options.parts.has('handshakes') || options.parts.has('memory')) {
      say(`round ${round} of ${options.rounds}: TLS alone`)
      tlsAlone.push(await measureTlsAlone(options.probes))
    }
    results.rounds.push(figures)
  }
  if (tlsAlone.length > 0) results.tlsAlone = tlsAlone
  if (options.parts.has('ipsec')) results.attachments = await measureAttachments(options)
  if (options.parts.has('heap')) {
    say(`heap: ${options.packets} million packets through overmesh`)
    results.heap = await withHub('overmesh', hub => measureHeap(hub, options.packets * 1e6, HEAP_SECONDS), [
      '--trace-gc',
    ])
  }
  return results
}

function write(results: Results): string {
  const directory = join(import.meta.dirname, 'results')
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${results.startedAt.replaceAll(/[:.]/g, '-')}.json`)
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
  return path
}

let options: Options
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`bench: ${(error as Error).message}\n${USAGE}`)
  process.exit(2)
}
const reasons = prepareForLab(say)
if (reasons.length > 0) {
  for (const reason of reasons) process.stderr.write(`bench: ${reason}\n`)
  process.exit(1)
}
const results = await measureAll(options)
process.stdout.write(`\n${formatResults(results)}`)
process.stdout.write(`\nall figures: ${write(results)}\n`)
