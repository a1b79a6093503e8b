// Whether the switch allocates: V8's own account of its garbage collections (`--trace-gc`) while millions of packets pass.
import { iperf, iperfServer } from '../lab/iperf.ts'
import { connectPair, type Hub } from './hubs.ts'

export interface HeapGrowth {
  packets: number
  /** Bytes of JavaScript objects that the switch's thread made meanwhile, for one packet. */
  allocatedBytesPerPacket: number
  /** Of the thread that collected most often. */
  collections: number
  residentGrowthBytes: number
}

/** One line of `--trace-gc`: the isolate, and the heap before and after in MB. */
const COLLECTION =
  /^\[\d+:(0x[0-9a-f]+)(?::\d+)?\]\s+\d+ ms: .*? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/gm

/** Small packets as fast as the sending client makes them. */
const FLOOD = { bitsPerSecond: 0, bytes: 64 }
const ROUND_SECONDS = 10

/**
 * Sends small packets until so many have passed or the time is over. The hub must run with `--trace-gc`.
 */
export async function measureHeap(hub: Hub, packets: number, maxSeconds: number): Promise<HeapGrowth> {
  const pair = await connectPair(hub)
  await iperfServer(pair.b, 5304)
  const round = async (seconds: number): Promise<number> =>
    (await iperf(pair.a, pair.address, { seconds, udp: FLOOD, port: 5304 })).delivered
  await round(5) // everything that is made once is made
  const mark = hub.process.mark()
  const resident = hub.process.residentBytes()
  const deadline = performance.now() + maxSeconds * 1000
  let passed = 0
  while (passed < packets && performance.now() < deadline) passed += await round(ROUND_SECONDS)
  return {
    packets: passed,
    ...readCollections(hub.process.output.slice(mark), passed, mainThread(hub.process.output)),
    residentGrowthBytes: hub.process.residentBytes() - resident,
  }
}

/** The isolate of the main thread: no other runs when it first collects its garbage. */
export function mainThread(trace: string): string | undefined {
  return trace.matchAll(COLLECTION).next().value?.[1]
}

/**
 * What was allocated between the collections of each isolate: what it had before one, less what the last one left. The main
 * thread's is no matter of packets, and is left out.
 */
export function readCollections(
  trace: string,
  packets: number,
  main: string | undefined,
): Pick<HeapGrowth, 'allocatedBytesPerPacket' | 'collections'> {
  const threads = new Map<string, { left: number; allocated: number; collections: number }>()
  for (const [, isolate, before, after] of trace.matchAll(COLLECTION)) {
    if (isolate === main) continue
    const thread = threads.get(isolate)
    if (thread === undefined) {
      // The first collection only shows where the account starts.
      threads.set(isolate, { left: Number(after), allocated: 0, collections: 1 })
      continue
    }
    thread.allocated += Math.max(0, Number(before) - thread.left)
    thread.left = Number(after)
    thread.collections++
  }
  const all = [...threads.values()]
  const megabytes = all.reduce((sum, each) => sum + each.allocated, 0)
  return {
    allocatedBytesPerPacket: packets === 0 ? Number.NaN : (megabytes * 2 ** 20) / packets,
    collections: Math.max(0, ...all.map(each => each.collections)),
  }
}
