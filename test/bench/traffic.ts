// What is measured between two stock clients: bulk TCP, floods of small packets, round trips.
import { iperf, iperfServer } from '../lab/iperf.ts'
import { Ping, percentile } from '../lab/ping.ts'
import { cost, type Hub, type Pair } from './hubs.ts'

export interface Throughput {
  megabitsPerSecond: number
  /** CPU seconds of the server for 10^9 bytes of TCP payload. */
  cpuSecondsPerGigabyte: number
}

export async function measureThroughput(hub: Hub, pair: Pair, seconds: number): Promise<Throughput> {
  await iperfServer(pair.b, 5301)
  await iperf(pair.a, pair.address, { seconds: 1, port: 5301 }) // warms caches, windows and the compiler
  const { value, cpuSeconds } = await cost(hub, () => iperf(pair.a, pair.address, { seconds, port: 5301 }))
  return {
    megabitsPerSecond: value.bitsPerSecond / 1e6,
    cpuSecondsPerGigabyte: cpuSeconds / (value.bytes / 1e9),
  }
}

export interface SmallPackets {
  /** The best that arrived at any of the offered rates. */
  deliveredPerSecond: number
  offeredPerSecond: number
  lossPercent: number
  /** Of the server, at the best rate. */
  cpuSecondsPerMillion: number
  steps: { offered: number; delivered: number; cpuSecondsPerMillion: number }[]
}

const SMALL_BYTES = 100
/** Offered packets a second, from what every hub carries to what the sender cannot even make. */
const SMALL_RATES = [15_000, 30_000, 45_000, 60_000, 80_000, 100_000, 130_000]

export async function measureSmallPackets(hub: Hub, pair: Pair, seconds: number): Promise<SmallPackets> {
  await iperfServer(pair.b, 5302)
  const steps: SmallPackets['steps'] = []
  for (const rate of SMALL_RATES) {
    const udp = { bitsPerSecond: rate * SMALL_BYTES * 8, bytes: SMALL_BYTES }
    const { value, cpuSeconds } = await cost(hub, () =>
      iperf(pair.a, pair.address, { seconds, udp, port: 5302 }),
    )
    steps.push({
      offered: value.packets / value.seconds,
      delivered: value.delivered / value.seconds,
      cpuSecondsPerMillion: cpuSeconds / (Math.max(1, value.delivered) / 1e6),
    })
  }
  const best = steps.reduce((a, b) => (b.delivered > a.delivered ? b : a))
  return {
    deliveredPerSecond: best.delivered,
    offeredPerSecond: best.offered,
    lossPercent: 100 * (1 - best.delivered / best.offered),
    cpuSecondsPerMillion: best.cpuSecondsPerMillion,
    steps,
  }
}

export interface Latency {
  /** Milliseconds that the way through the hub adds to the way without it; nothing else going on. */
  addedP50: number
  addedP99: number
  /** The round trip of requests that follow each other at once. */
  backToBackP50: number
  /** The round trip itself while 20 Mbit/s of UDP pass. */
  busyP50: number
  busyP99: number
}

export async function measureLatency(pair: Pair, seconds: number): Promise<Latency> {
  const interval = 0.005
  const count = Math.ceil(seconds / interval)
  const roundTrips = async (address: string, options = { interval, count }): Promise<number[]> =>
    (await (await Ping.start(pair.a, address, options)).finish()).roundTrips
  const direct = await roundTrips(pair.b.ip4)
  const idle = await roundTrips(pair.address)
  const backToBack = await roundTrips(pair.address, { interval: 0, count: 10 * count })
  await iperfServer(pair.b, 5303)
  const load = iperf(pair.a, pair.address, {
    seconds: seconds + 1,
    udp: { bitsPerSecond: 20e6, bytes: 1200 },
    port: 5303,
  })
  const busy = await roundTrips(pair.address)
  await load
  return {
    addedP50: percentile(idle, 0.5) - percentile(direct, 0.5),
    addedP99: percentile(idle, 0.99) - percentile(direct, 0.99),
    backToBackP50: percentile(backToBack, 0.5),
    busyP50: percentile(busy, 0.5),
    busyP99: percentile(busy, 0.99),
  }
}
