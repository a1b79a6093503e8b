// The figures of all rounds beside each other, their ratios, and what is to be reached.
import type { Crowd } from './crowd.ts'
import type { Gateway } from './gateway.ts'
import type { HeapGrowth } from './heap.ts'
import { HUB_NAMES, type HubName } from './hubs.ts'
import type { AttachmentCosts, Carrier } from './ipsec.ts'
import type { Latency, SmallPackets, Throughput } from './traffic.ts'

/** What one hub gave in one round; absent where it was not measured. */
export interface RoundFigures {
  throughput?: Throughput
  gateway?: Gateway
  smallPackets?: SmallPackets
  latency?: Latency
  stockCrowd?: Crowd
  probeCrowd?: Crowd
}

export interface Results {
  startedAt: string
  /** `loadBefore`: what the machine was doing before, as runnable threads on average. */
  machine: { cpu: string; cores: number; kernel: string; node: string; openvpn: string; loadBefore: number }
  rounds: Record<HubName, RoundFigures>[]
  /** One for each round. */
  attachments?: Record<Carrier, AttachmentCosts>[]
  /** One for each round. */
  tlsAlone?: Crowd[]
  heap?: HeapGrowth
}

interface Row {
  label: string
  unit: string
  digits: number
  value: (figures: RoundFigures) => number | undefined
  /** Whether overmesh reached it, from the medians, and the words for it. */
  target?: { text: string; reached: (openvpn: number, overmesh: number) => boolean }
}

/** The mean of all ways. */
function gatewayCost(gateway: Gateway | undefined): number | undefined {
  if (gateway === undefined) return undefined
  const ways = Object.values(gateway)
  return ways.reduce((sum, way) => sum + way.cpuSecondsPerGigabyte, 0) / ways.length
}

function gatewayRows(labels: Record<keyof Gateway, string>): Row[] {
  return (Object.keys(labels) as (keyof Gateway)[]).flatMap(way => [
    {
      label: `  ${labels[way]}`,
      unit: 's',
      digits: 2,
      value: (figures: RoundFigures) => figures.gateway?.[way].cpuSecondsPerGigabyte,
    },
    {
      label: '    throughput',
      unit: 'Mbit/s',
      digits: 0,
      value: (figures: RoundFigures) => figures.gateway?.[way].megabitsPerSecond,
    },
  ])
}

const ROWS: Row[] = [
  {
    label: 'server CPU per gigabyte of TCP',
    unit: 's',
    digits: 2,
    value: f => f.throughput?.cpuSecondsPerGigabyte,
    target: { text: '≤ 0.4 ×', reached: (openvpn, overmesh) => overmesh <= 0.4 * openvpn },
  },
  { label: 'TCP throughput', unit: 'Mbit/s', digits: 0, value: f => f.throughput?.megabitsPerSecond },
  {
    label: 'server CPU per gigabyte of TCP by its TUN',
    unit: 's',
    digits: 2,
    value: f => gatewayCost(f.gateway),
    target: { text: '≤ 0.4 ×', reached: (openvpn, overmesh) => overmesh <= 0.4 * openvpn },
  },
  ...gatewayRows({
    toHub: 'client to server',
    fromHub: 'server to client',
    toBehind: 'client to a host behind',
    fromBehind: 'a host behind to client',
  }),
  {
    label: '100-byte packets delivered',
    unit: '/s',
    digits: 0,
    value: f => f.smallPackets?.deliveredPerSecond,
  },
  {
    // What arrives in a second ends with the clients, which share the cores and are the same for both servers.
    label: 'of them, per CPU-second of the server',
    unit: '/s',
    digits: 0,
    value: f => (f.smallPackets ? 1e6 / f.smallPackets.cpuSecondsPerMillion : undefined),
    target: { text: '≥ 2 ×', reached: (openvpn, overmesh) => overmesh >= 2 * openvpn },
  },
  {
    label: 'added round trip, median',
    unit: 'ms',
    digits: 3,
    value: f => f.latency?.addedP50,
    target: { text: '≤ 1 ×', reached: (openvpn, overmesh) => overmesh <= openvpn },
  },
  { label: 'added round trip, 99th percentile', unit: 'ms', digits: 3, value: f => f.latency?.addedP99 },
  {
    label: 'round trip of requests back to back, median',
    unit: 'ms',
    digits: 3,
    value: f => f.latency?.backToBackP50,
  },
  { label: 'round trip under 20 Mbit/s, median', unit: 'ms', digits: 3, value: f => f.latency?.busyP50 },
  { label: 'the same, 99th percentile', unit: 'ms', digits: 3, value: f => f.latency?.busyP99 },
  {
    label: 'handshakes per CPU-second, stock clients',
    unit: '/s',
    digits: 0,
    value: f => f.stockCrowd?.handshakesPerCpuSecond,
  },
  {
    label: 'handshakes per CPU-second, probes',
    unit: '/s',
    digits: 0,
    value: f => f.probeCrowd?.handshakesPerCpuSecond,
  },
  {
    label: 'memory per session, stock clients',
    unit: 'kB',
    digits: 1,
    value: f => kilobytes(f.stockCrowd?.bytesPerSession),
  },
  {
    label: 'memory per session, probes',
    unit: 'kB',
    digits: 1,
    value: f => kilobytes(f.probeCrowd?.bytesPerSession),
  },
]

const kilobytes = (bytes: number | undefined): number | undefined =>
  bytes === undefined ? undefined : bytes / 1000

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The table that a person reads: medians over the rounds, with the range in brackets. */
export function formatResults(results: Results): string {
  const { machine, rounds, attachments, tlsAlone, heap } = results
  const count = Math.max(rounds.length, attachments?.length ?? 0)
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}, ${machine.openvpn}`,
    `Server, both clients and iperf3 share the ${machine.cores} cores: what passes in a second depends on all of them,`,
    'so CPU time per gigabyte, per packet and per handshake are the honest figures. Medians of ' +
      `${count} round${count === 1 ? '' : 's'}, range in brackets.`,
    "Memory per session: openvpn's is what became resident, overmesh's and node:tls's what malloc and V8 have in use.",
    ...(machine.loadBefore > 0.5
      ? [
          `The machine was busy with other things (load ${machine.loadBefore.toFixed(1)}): figures are disturbed.`,
        ]
      : []),
    '',
    ...(rounds.length > 0 ? [columns('', 'openvpn', 'overmesh', 'ratio', 'to reach')] : []),
  ]
  for (const row of ROWS) {
    const of = (name: HubName): number[] =>
      rounds.map(round => row.value(round[name])).filter(value => value !== undefined)
    const values = HUB_NAMES.map(of)
    if (values.every(each => each.length === 0)) continue
    const [openvpn, overmesh] = values.map(each => (each.length > 0 ? median(each) : Number.NaN))
    const both = !Number.isNaN(openvpn) && !Number.isNaN(overmesh)
    const verdict =
      row.target && both
        ? `${row.target.text} ${row.target.reached(openvpn, overmesh) ? 'reached' : 'MISSED'}`
        : ''
    const cells = values.map(each => cell(each, row))
    lines.push(columns(row.label, cells[0], cells[1], both ? (overmesh / openvpn).toFixed(2) : '', verdict))
  }
  if (attachments) lines.push('', ...formatAttachments(attachments))
  if (tlsAlone) lines.push('', ...formatTlsAlone(tlsAlone, rounds))
  if (heap) lines.push('', ...formatHeap(heap))
  return `${lines.join('\n')}\n`
}

function cell(values: readonly number[], row: Pick<Row, 'unit' | 'digits'>): string {
  if (values.length === 0) return '-'
  const text = (value: number): string => value.toFixed(row.digits)
  const range = values.length > 1 ? ` [${text(Math.min(...values))}..${text(Math.max(...values))}]` : ''
  return `${text(median(values))} ${row.unit}${range}`
}

const columns = (label: string, ...cells: string[]): string =>
  [label.padEnd(41), cells[0].padEnd(27), cells[1].padEnd(27), cells[2].padEnd(6), cells[3]]
    .join(' ')
    .trimEnd()

function formatTlsAlone(tlsAlone: readonly Crowd[], rounds: Results['rounds']): string[] {
  const middle = (crowds: readonly Crowd[], value: (crowd: Crowd) => number): number =>
    median(crowds.map(value))
  const weight = middle(tlsAlone, each => each.bytesPerSession)
  const rate = cell(
    tlsAlone.map(each => each.handshakesPerCpuSecond),
    { unit: 'handshakes per CPU-second', digits: 0 },
  )
  const lines = [
    `node:tls alone, ${tlsAlone[0].clients} clients: ${rate}, ${(weight / 1000).toFixed(1)} kB a session`,
  ]
  const probes = rounds.map(round => round.overmesh.probeCrowd).filter(each => each !== undefined)
  if (probes.length > 0) {
    const beyond = (middle(probes, each => each.bytesPerSession) - weight) / 1000
    const cpu =
      middle(probes, each => each.cpuSecondsPerHandshake) /
      middle(tlsAlone, each => each.cpuSecondsPerHandshake)
    lines.push(
      `overmesh beyond that: ${beyond.toFixed(1)} kB a session (< 20 kB ${beyond < 20 ? 'reached' : 'MISSED'}), ` +
        `${cpu.toFixed(2)} × the CPU time a handshake`,
    )
  }
  return lines
}

/** What may be added to the CPU time that strongSwan needs, of both ends together. */
const MAX_ADDED = 0.25

function formatAttachments(rounds: Record<Carrier, AttachmentCosts>[]): string[] {
  const carriers = ['strongswan', 'openvpn', 'overmesh'] as const
  const row = (label: string, texts: readonly string[]): string =>
    [label.padEnd(41), ...texts.map(text => text.padEnd(24))].join(' ').trimEnd()
  const cells = (unit: string, digits: number, value: (costs: AttachmentCosts) => number): string[] =>
    carriers.map(carrier => {
      const values = rounds.map(round => value(round[carrier]))
      return values.every(each => each === 0) ? '-' : cell(values, { unit, digits })
    })
  const lines = [row('a client and a site by IPsec', ['strongSwan alone', '+ openvpn', '+ overmesh'])]
  for (const [way, label] of [
    ['toSite', 'client to site'],
    ['fromSite', 'site to client'],
  ] as const) {
    lines.push(
      row(
        `  ${label}`,
        cells('Mbit/s', 0, costs => costs[way].megabitsPerSecond),
      ),
      row(
        '    strongSwan, CPU per gigabyte',
        cells('s', 2, costs => costs[way].here),
      ),
      row(
        '    strongSwan at the site',
        cells('s', 2, costs => costs[way].atSite),
      ),
      row(
        '    in front of it',
        cells('s', 2, costs => costs[way].front),
      ),
    )
  }
  const added = carriers.map(carrier =>
    median(rounds.map(round => addedShare(round[carrier], round.strongswan))),
  )
  const verdict = added[2] <= MAX_ADDED ? 'reached' : 'MISSED'
  return [
    ...lines,
    row('  added to strongSwan alone, both ends', [
      '-',
      added[1].toFixed(2),
      `${added[2].toFixed(2)}  (≤ ${MAX_ADDED} ${verdict})`,
    ]),
  ]
}

/** What is in front of strongSwan, by what strongSwan needs at both ends where nothing is in front of it: of both ways. */
export function addedShare(costs: AttachmentCosts, alone: AttachmentCosts): number {
  const sum = (
    { toSite, fromSite }: AttachmentCosts,
    of: (cost: AttachmentCosts['toSite']) => number,
  ): number => of(toSite) + of(fromSite)
  return sum(costs, ({ front }) => front) / sum(alone, ({ here, atSite }) => here + atSite)
}

/** Less than this for one packet is the statistics of a running controller, not an object for each packet. */
const ALLOCATION_FREE_BYTES = 1

function formatHeap(heap: HeapGrowth): string[] {
  const free = heap.allocatedBytesPerPacket < ALLOCATION_FREE_BYTES
  return [
    `${(heap.packets / 1e6).toFixed(1)} million packets: ${heap.allocatedBytesPerPacket.toFixed(3)} bytes allocated for each ` +
      `(none: ${free ? 'reached' : 'MISSED'}), ${heap.collections} garbage collections, ` +
      `resident memory grew by ${(heap.residentGrowthBytes / 1e6).toFixed(1)} MB`,
  ]
}
