// iperf3: bulk TCP, and UDP at a rate, between two hosts.
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'

export interface IperfReport {
  /** Payload bytes that arrived. */
  bytes: number
  seconds: number
  bitsPerSecond: number
  /** The longest time in which nothing at all passed, in steps of half a second. */
  stalledSeconds: number
  /** UDP: datagrams sent and those that arrived. */
  packets: number
  delivered: number
}

export interface IperfOptions {
  /** @default 1 */
  seconds?: number
  /** Datagrams of so many bytes at so many bits a second (0: as fast as it goes); TCP without it. */
  udp?: { bitsPerSecond: number; bytes: number }
  /** The server sends, the client receives. */
  reverse?: boolean
  /** @default 5201 */
  port?: number
}

/** Starts an iperf3 server that serves until the lab is closed. */
export async function iperfServer(host: Host, port = 5201): Promise<LabProcess> {
  const server = await host.spawn(`iperf3 server ${host.name} ${port}`, [
    'iperf3',
    '--server',
    '--forceflush',
    '--port',
    String(port),
  ])
  await server.waitFor(/Server listening/)
  return server
}

const INTERVAL_SECONDS = 0.5

interface IperfJson {
  error?: string
  intervals: { sum: { bytes: number } }[]
  end: {
    sum: { packets: number; lost_packets: number; seconds: number; bytes: number }
    sum_sent: { bytes: number; packets?: number }
    sum_received: {
      bytes: number
      seconds: number
      bits_per_second: number
      packets?: number
      lost_packets?: number
    }
  }
}

/** Measures from one host to a server at an address; throws if iperf3 fails. */
export async function iperf(from: Host, address: string, options: IperfOptions = {}): Promise<IperfReport> {
  const { seconds = 1, udp, reverse = false, port = 5201 } = options
  const argv = ['iperf3', '--json', '--client', address, '--port', String(port), '--time', String(seconds)]
  argv.push('--connect-timeout', '5000', '--interval', String(INTERVAL_SECONDS))
  if (reverse) argv.push('--reverse')
  if (udp) argv.push('--udp', '--bitrate', String(udp.bitsPerSecond), '--length', String(udp.bytes))
  const { stdout } = await from.attempt(argv, { timeout: (seconds + 30) * 1000 })
  const result = JSON.parse(stdout || '{"error":"iperf3 was killed: it hung"}') as IperfJson
  if (result.error !== undefined) throw new Error(`${argv.join(' ')}: ${result.error}`)
  const { sum_received: received, sum } = result.end
  const stalledSeconds = longestStall(result.intervals)
  if (udp) {
    const packets = sum.packets
    const delivered = sum.packets - sum.lost_packets
    const bytes = delivered * udp.bytes
    const bitsPerSecond = (bytes * 8) / sum.seconds
    return { bytes, seconds: sum.seconds, bitsPerSecond, stalledSeconds, packets, delivered }
  }
  const { bytes, bits_per_second: bitsPerSecond } = received
  return { bytes, seconds: received.seconds, bitsPerSecond, stalledSeconds, packets: 0, delivered: 0 }
}

function longestStall(intervals: IperfJson['intervals']): number {
  let longest = 0
  let run = 0
  for (const { sum } of intervals) {
    run = sum.bytes === 0 ? run + 1 : 0
    longest = Math.max(longest, run)
  }
  return longest * INTERVAL_SECONDS
}
