// V8 compiles what is hot, and a switch that has carried nothing yet is cold: its first packets would take several
// times as long. So packets bounce between two ports of a switch apart, over a loopback socket that sends to itself,
// until their TTL is spent. It runs the same loop: one that seldom has packets would itself stay cold for long.
import { randomBytes } from 'node:crypto'
import { MessageChannel } from 'node:worker_threads'
import { overlayAddress6 } from '../../state/address6.ts'
import { allocateCounters, COUNTER, counterCells } from './counters.ts'
import { Forwarder } from './forwarder.ts'
import { writeHeaderChecksum } from './ipv4.ts'
import { DESTINATION6, IPV6_HEADER, NEXT_HEADER, SOURCE6 } from './ipv6.ts'
import { Keys } from './keys.ts'
import { LinkStats } from './link-stats.ts'
import { Links } from './links.ts'
import { type Listener, listen } from './listener.ts'
import { Loop } from './loop.ts'
import { Outbox } from './outbox.ts'
import { Overlay6 } from './overlay6.ts'
import { PortEchoes } from './port-echoes.ts'
import { PortSender } from './port-sender.ts'
import { Ports } from './ports.ts'
import { Reporter } from './reporter.ts'
import { SessionPaths } from './session-paths.ts'
import { allocateSignals, KEY_IDS, PortStats } from './shared.ts'
import { SizeProber } from './size-prober.ts'
import { PATH_STRIDE, writePath } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { newWakeup } from './sys/poller.ts'
import { closeFile } from './sys/socket.ts'
import { ForwardingTable } from './table.ts'
import { Taps } from './taps.ts'

/** Enough for the optimizing compiler, in turns of one packet each. */
const TURNS = 8000
const PACKET_BYTES = 100
const OVERHEAD = 32
const PORTS = [1, 2]
/** Addresses of the two, and the port of a route is its own number. */
const ADDRESSES = [0, 0x0a000001, 0x0a000002]
const SUBNET = { address: 0x0a000000, length: 24 }
const SUBNET6 = { address: [0xfd000000, 0, 0, 0], length: 96 } as const
const ANYTHING = Int32Array.of(0, 0)
const NOTHING = new Int32Array(0)

/** Never throws: where there is no loopback, the switch starts cold. */
export function warmUp(): void {
  let listener: Listener | undefined
  let wakeup = -1
  try {
    listener = listen({ host: '127.0.0.1', port: 0 }, true)
    wakeup = newWakeup()
    bounce(listener, wakeup)
  } catch {
    // What does not work here will be told by what needs it.
  } finally {
    if (listener !== undefined) closeFile(listener.fd)
    if (wakeup >= 0) closeFile(wakeup)
  }
}

function bounce(listener: Listener, wakeup: number): void {
  const counters = counterCells(allocateCounters())
  const ports = new Ports(PORTS.length, PortStats.allocate(PORTS.length), 0)
  const keys = new Keys(PORTS.length)
  const outbox = new Outbox(ports, [listener], counters, PACKET_BYTES + OVERHEAD, 64)
  const taps = new Taps(ports)
  const sender = new PortSender({ ports, keys, outbox, counters, taps, rekeyDue() {} })
  const prober = new SizeProber(ports, keys, [listener], counters, taps, PACKET_BYTES + OVERHEAD)
  const stats = LinkStats.allocate(0)
  const links = new Links({ ports, sender, prober, stats, counters, changed() {} })
  const signals = allocateSignals()
  const { port1: nowhere } = new MessageChannel()
  const reporter = new Reporter(nowhere, ports, signals, counters)
  const origin = { address: ADDRESSES[1], broadcast: 0xffffffff }
  const overlay6 = new Overlay6(SUBNET6, SUBNET, ADDRESSES[1])
  const sessions = new SessionPaths(ports, prober, ADDRESSES[1])
  const echoes = new PortEchoes(PORTS.length, sender, ADDRESSES[0], undefined, () => {})
  const parts = { ports, keys, sender, links, sessions, echoes, counters, taps }
  const forwarder = new Forwarder({ ...parts, tun: undefined, notices: reporter, origin, overlay6 })
  const listeners = [listener]
  const commands = (): void => {}
  const loop = new Loop({
    ...parts,
    listeners,
    tun: undefined,
    wakeup,
    forwarder,
    outbox,
    reporter,
    signals,
    commands,
  })
  const path = new Arena(PATH_STRIDE)
  const { host, port } = listener
  writePath(path, 0, { socket: 0, remote: host, port, local: host, ifindex: 0 })
  for (const slot of PORTS) {
    const times = { pingSeconds: 0, timeoutSeconds: 0 }
    const place = { peerId: slot, remotePeerId: slot, link: 0, slot, generation: 1, socket: 0, ifindex: 0 }
    ports.openPort(
      {
        ...place,
        ...times,
        address: ADDRESSES[slot],
        sources: ANYTHING,
        sources6: NOTHING,
        mtu: PACKET_BYTES,
      },
      path,
      0,
    )
    // One secret for both directions: what a port is sent comes back as from its peer.
    const secret = { cipher: new Uint8Array(randomBytes(32)), hmac: new Uint8Array(randomBytes(8)) }
    ports.sendKey[slot] = keys.add(slot, 0, 'AES-256-GCM', 'aead', secret, secret)
    ports.keys[slot * KEY_IDS] = ports.sendKey[slot]
  }
  forwarder.table = ForwardingTable.build(
    PORTS.map(slot => ({ address: ADDRESSES[slot], length: 32, nextHop: slot })),
  )
  const packets = [packet4(), packet6()]
  for (let turn = 0, sent = 0; turn < TURNS; turn++) {
    if (counters[COUNTER.txDatagrams] === sent) {
      // The last one has spent its hops.
      const packet = packets[turn % packets.length]
      const at = outbox.reserve()
      outbox.commit(1, keys.seal(ports.sendKey[1], packet, 0, PACKET_BYTES, outbox.arena, at))
      outbox.flush()
    }
    sent = counters[COUNTER.txDatagrams]
    loop.turn()
  }
  loop.close()
  nowhere.close()
  keys.close()
}

function packet4(): Arena {
  const packet = new Arena(PACKET_BYTES)
  packet.view.setUint8(0, 0x45)
  packet.view.setUint16(2, PACKET_BYTES)
  packet.view.setUint8(8, 255)
  packet.view.setUint32(12, ADDRESSES[1])
  packet.view.setUint32(16, ADDRESSES[2])
  writeHeaderChecksum(packet, 0)
  return packet
}

function packet6(): Arena {
  const packet = new Arena(PACKET_BYTES)
  packet.view.setUint8(0, 0x60)
  packet.view.setUint16(4, PACKET_BYTES - IPV6_HEADER)
  packet.view.setUint8(6, NEXT_HEADER.none)
  packet.view.setUint8(7, 255)
  for (const [at, address] of [
    [SOURCE6, ADDRESSES[1]],
    [DESTINATION6, ADDRESSES[2]],
  ]) {
    for (const [i, word] of overlayAddress6(SUBNET6, address).entries())
      packet.view.setUint32(at + 4 * i, word)
  }
  return packet
}
