// What the way through the hub's own TUN costs: TCP between a stock client and the hub's kernel, and a host that is routed behind
// the hub.
import { iperf, iperfServer } from '../lab/iperf.ts'
import { OpenvpnClient } from '../lab/openvpn-client.ts'
import { cost, type Hub } from './hubs.ts'
import type { Throughput } from './traffic.ts'

/** By where the TCP goes: to or from the hub itself, to or from the host behind it. */
export interface Gateway {
  toHub: Throughput
  fromHub: Throughput
  toBehind: Throughput
  fromBehind: Throughput
}

/** A network behind the hub, of the range for documentation (RFC 5737). */
const BEHIND = { network: '198.51.100.0/24', address: '198.51.100.1' }
const PORT = 5305

export async function measureGateway(hub: Hub, seconds: number): Promise<Gateway> {
  const { lab, host } = hub
  const client = await lab.host('client')
  const behind = await lab.host('behind')
  await host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0')
  await host.exec('sysctl', '-qw', 'net.ipv4.conf.eth0.send_redirects=0')
  await host.ip('route', 'add', BEHIND.network, 'via', behind.ip4)
  await behind.ip('address', 'add', `${BEHIND.address}/32`, 'dev', 'lo')
  const [pack] = await hub.addClients(1)
  const openvpn = await OpenvpnClient.connect(client, pack)
  const address = await openvpn.address()
  await behind.ip('route', 'add', `${address}/32`, 'via', host.ip4)
  const own = await hub.openGateway(BEHIND.network)
  await client.ip('route', 'replace', BEHIND.network, 'dev', openvpn.dev)

  await iperfServer(host, PORT)
  await iperfServer(behind, PORT)
  const measure = async (target: string, reverse: boolean): Promise<Throughput> => {
    const options = { port: PORT, reverse }
    await iperf(client, target, { seconds: 1, ...options }) // warms caches, windows and the compiler
    const { value, cpuSeconds } = await cost(hub, () => iperf(client, target, { seconds, ...options }))
    return {
      megabitsPerSecond: value.bitsPerSecond / 1e6,
      cpuSecondsPerGigabyte: cpuSeconds / (value.bytes / 1e9),
    }
  }
  return {
    toHub: await measure(own, false),
    fromHub: await measure(own, true),
    toBehind: await measure(BEHIND.address, false),
    fromBehind: await measure(BEHIND.address, true),
  }
}
