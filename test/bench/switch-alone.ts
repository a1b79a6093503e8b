// What the switch itself costs, without clients, TLS or TUN: packets of one session to another over loopback.
// `node test/bench/switch-alone.ts [BYTES] [PACKETS] [PACKETS_PER_SECOND] [BURST] [CIPHER]`
import { setTimeout as delay } from 'node:timers/promises'
import type { Path } from '../../node/switch/path.ts'
import { Switch } from '../../node/switch/switch.ts'
import type { DataCipher, DirectionKey } from '../../node/vpn/data-keys.ts'
import type { OverlayAddress } from '../../state/address.ts'
import { startLoad, startSink } from './loopback-load.ts'

export interface SwitchLoad {
  /** Bytes of an overlay packet. */
  bytes: number
  packets: number
  packetsPerSecond: number
  /** Packets that the sender sends by one system call. */
  burst: number
  cipher: DataCipher
  /** Called when everything is warm and counting begins. */
  onWarm?: () => void
}

export interface SwitchFigures {
  offeredPerSecond: number
  forwarded: number
  delivered: number
  /** CPU time of the whole process, microseconds a packet. */
  userMicroseconds: number
  systemMicroseconds: number
  cpuSecondsPerGigabyte: number
  datagramsPerReceive: number
  datagramsPerSend: number
}

const WARM_UP_PACKETS = 100_000
const SUBNET = { address: 0x0a4d0000, length: 16 }
const [GATEWAY, FROM, TO] = [0x0a4d0001, 0x0a4d0002, 0x0a4d0003]

function direction(): DirectionKey {
  return {
    cipher: crypto.getRandomValues(new Uint8Array(64)),
    hmac: crypto.getRandomValues(new Uint8Array(64)),
  }
}

/** Forwards that load once and says what it took. */
export async function measureSwitch(load: SwitchLoad): Promise<SwitchFigures> {
  const listen = [{ host: '127.0.0.1', port: 0 }]
  const fixed = { gateway: GATEWAY, address: GATEWAY, subnet: SUBNET, tun: false, mtu: 1500 } as const
  const running = await Switch.start({ listen, ...fixed })
  const sink = await startSink('127.0.0.1')
  const path = (port: number): Path => ({
    socket: 0,
    remote: '127.0.0.1',
    port,
    local: '127.0.0.1',
    ifindex: 0,
  })
  const open = (peerId: number, address: number, port: number): void => {
    const times = { pingSeconds: 0, timeoutSeconds: 0 }
    running.openPort({
      peerId,
      path: path(port),
      address: address as OverlayAddress,
      subnets: [],
      mtu: 1500,
      ...times,
    })
  }
  /** A new key for each run: the sender's packet ids begin at 1 again. */
  const newKey = (peerId: number): DirectionKey => {
    const receive = direction()
    running.setKey(peerId, 0, { cipher: load.cipher, format: 'aead', send: direction(), receive })
    running.useKey(peerId, 0)
    return receive
  }
  const offer = async (packets: number): Promise<number> => {
    const key = newKey(5)
    const { sent, seconds } = await startLoad({
      host: '127.0.0.1',
      port: running.addresses[0].port,
      peerId: 5,
      cipher: load.cipher,
      key: Buffer.from(key.cipher).toString('hex'),
      implicitIv: Buffer.from(key.hmac.subarray(0, 8)).toString('hex'),
      from: FROM,
      to: TO,
      bytes: load.bytes,
      packets,
      packetsPerSecond: load.packetsPerSecond,
      burst: load.burst,
    })
    await delay(200)
    return sent / seconds
  }
  open(5, FROM, 9)
  open(6, TO, sink.port)
  newKey(6)
  running.setRoutes([
    { address: FROM, length: 32, peerId: 5 },
    { address: TO, length: 32, peerId: 6 },
  ])
  await offer(WARM_UP_PACKETS)
  load.onWarm?.()
  const before = running.counters()
  const cpuBefore = process.cpuUsage()
  const offeredPerSecond = await offer(load.packets)
  const { user, system } = process.cpuUsage(cpuBefore)
  const after = running.counters()
  const count = (name: keyof typeof after): number => after[name] - before[name]
  const { received } = await sink.finish()
  await running.stop()
  const forwarded = count('txPackets')
  return {
    offeredPerSecond,
    forwarded,
    delivered: received - before.txPackets,
    userMicroseconds: user / forwarded,
    systemMicroseconds: system / forwarded,
    cpuSecondsPerGigabyte: (user + system) / 1e6 / (count('txBytes') / 1e9),
    datagramsPerReceive: count('rxDatagrams') / count('receiveCalls'),
    datagramsPerSend: count('txDatagrams') / count('sendCalls'),
  }
}

if (import.meta.main) {
  const [bytes = '1400', packets = '400000', rate = '60000', burst = '4', cipher = 'AES-256-GCM'] =
    process.argv.slice(2)
  const figures = await measureSwitch({
    bytes: Number(bytes),
    packets: Number(packets),
    packetsPerSecond: Number(rate),
    burst: Number(burst),
    cipher: cipher as DataCipher,
    onWarm: () => console.log('warm'),
  })
  for (const [name, figure] of Object.entries(figures))
    console.log(`${name} ${Math.round(figure * 100) / 100}`)
}
