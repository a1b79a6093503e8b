// V8 compiles what is hot, and a switch that has carried nothing yet is cold: its first packets would take several
// times as long, and one that seldom has packets would stay cold for long. So packets bounce between two ports of a
// switch apart, over a loopback socket that sends to itself, until their TTL is spent. It is made of the same parts as
// the real one, and meets what that will meet: code that was compiled for less is thrown away at the first surprise.
import { randomBytes } from 'node:crypto'
import { MessageChannel } from 'node:worker_threads'
import { type Assembly, assemble } from './assembly.ts'
import { allocateCounters, COUNTER, counterCells } from './counters.ts'
import { LinkStats } from './link-stats.ts'
import { type Listener, listen } from './listener.ts'
import { Loop } from './loop.ts'
import type { Outbox } from './outbox.ts'
import { allocateSignals, KEY_IDS, PortStats, SIGNAL } from './shared.ts'
import { PATH_STRIDE, writeName, writePath } from './socket-address.ts'
import { Arena } from './sys/arena.ts'
import { newWakeup } from './sys/poller.ts'
import { closeFile, connectTo } from './sys/socket.ts'
import { TunDevice } from './sys/tun-device.ts'
import { ForwardingTable, NEXT_HOP } from './table.ts'
import { Tun } from './tun.ts'
import { echoPacket, emptyPacket6, keepalive, probeAnswer, tcpPacket } from './warm-up-packets.ts'

/** Turns of the loop: what the optimizing compiler wants to have seen, most of them with one packet. */
const TURNS = 20_000
/** At most so long, milliseconds: packets wait meanwhile. */
const MOST_MILLISECONDS = 1500
/** Of the two ports; the port of a route is its own number. */
const PORTS = [1, 2]
const ANYTHING = Int32Array.of(0, 0)
const NOTHING = new Int32Array(0)
const SUBNET = { address: 0x0a000000, length: 24 }
const SUBNET6 = { address: [0xfd000000, 0, 0, 0], length: 96 } as const
/** Each port's own, and what is behind the TUN. */
const ADDRESSES = [0x0a000003, 0x0a000001, 0x0a000002]
const LONGEST = 1400
const ACKNOWLEDGEMENT = 5
const CONTROL_BYTES = 60
/** Milliseconds. */
const TIMER_INTERVAL = 2

const name = new Arena(32)

/**
 * Never throws: where there is no loopback, the switch starts cold.
 * @param tun what the real switch has
 * @returns packets that went from port to port, and how often one was waited for awake
 */
export function warmUp(tun: Pick<Tun, 'offload'> | undefined): { packets: number; polls: number } {
  const files: number[] = []
  const { port1: nowhere } = new MessageChannel()
  try {
    const listeners = [loopback(files)]
    const counters = counterCells(allocateCounters())
    const behind = tun === undefined ? undefined : tunLike(tun, counters, files)
    const assembly = assemble({
      listeners,
      tun: behind?.tun,
      main: nowhere,
      signals: allocateSignals(),
      counters,
      maxPorts: PORTS.length,
      stats: PortStats.allocate(PORTS.length),
      linkStats: LinkStats.allocate(0),
      longest: LONGEST,
      address: ADDRESSES[0],
      gateway: ADDRESSES[0],
      subnet: SUBNET,
      subnet6: SUBNET6,
      origin: { address: ADDRESSES[0], broadcast: 0xffffffff },
      delays: { bulk: 0, small: 0, control: 0 },
      seed: 0,
    })
    try {
      openPorts(assembly, listeners[0])
      const wakeup = newWakeup()
      files.push(wakeup)
      // What is to be done on waking differs, so that the compiler takes it for no part of the loop.
      const loops = [() => {}, () => assembly.outbox.flush()].map(
        commands => new Loop({ ...assembly, wakeup, commands, timerInterval: TIMER_INTERVAL }),
      )
      bounce(assembly, loops, behind?.kernel)
      for (const loop of loops) loop.close()
      return { packets: counters[COUNTER.rxPackets], polls: counters[COUNTER.busyPolls] }
    } finally {
      assembly.sessions.stop()
      assembly.keys.close()
    }
  } catch {
    // What does not work here will be told by what needs it.
    return { packets: 0, polls: 0 }
  } finally {
    nowhere.close()
    for (const fd of files) closeFile(fd)
  }
}

function openPorts({ ports, keys, forwarder }: Assembly, { host, port }: Listener): void {
  const path = new Arena(PATH_STRIDE)
  writePath(path, 0, { socket: 0, remote: host, port, local: host, ifindex: 0 })
  for (const slot of PORTS) {
    const place = { peerId: slot, remotePeerId: slot, link: 0, slot, generation: 1, socket: 0, ifindex: 0 }
    const terms = { address: ADDRESSES[slot], sources: ANYTHING, sources6: NOTHING, mtu: LONGEST }
    ports.openPort({ ...place, ...terms, pingSeconds: 0, timeoutSeconds: 0 }, path, 0)
    // One secret for both directions: what a port is sent comes back as from its peer.
    const secret = { cipher: new Uint8Array(randomBytes(32)), hmac: new Uint8Array(randomBytes(8)) }
    ports.sendKey[slot] = keys.add(slot, 0, 'AES-256-GCM', 'aead', secret, secret)
    ports.keys[slot * KEY_IDS] = ports.sendKey[slot]
  }
  const routes = PORTS.map(slot => ({ address: ADDRESSES[slot], length: 32, nextHop: slot }))
  forwarder.table = ForwardingTable.build([
    ...routes,
    { address: ADDRESSES[0], length: 32, nextHop: NEXT_HOP.tun },
  ])
}

function loopback(files: number[]): Listener {
  const listener = listen({ host: '127.0.0.1', port: 0 }, true)
  files.push(listener.fd)
  return listener
}

/** A TUN like the real one, and the kernel behind it: two sockets, of which the kernel's is never read. */
interface WarmUpTun {
  tun: Tun
  kernel: Tun
}

function tunLike({ offload }: Pick<Tun, 'offload'>, counters: Float64Array, files: number[]): WarmUpTun {
  const [device, kernel] = [loopback(files), loopback(files)]
  const open = (from: Listener, to: Listener): Tun => {
    if (!connectTo(from.fd, name, 0, writeName(name, 0, to.host, to.port, 0))) throw new Error('no loopback')
    return new Tun(
      new TunDevice({ fd: from.fd, control: -1, name: '', index: 0, offload }),
      LONGEST,
      counters,
    )
  }
  return { tun: open(device, kernel), kernel: open(kernel, device) }
}

function bounce(assembly: Assembly, loops: readonly Loop[], kernel: Tun | undefined): void {
  const { counters, keys, outbox, ports, signals } = assembly
  const [outside, first, second] = ADDRESSES
  const echo = echoPacket(8, first, second)
  const empty6 = emptyPacket6(SUBNET6, first, second)
  const rounds = [
    [echo],
    [empty6],
    [echoPacket(0, first, second), echoPacket(0, first, second, LONGEST)],
    [keepalive(), probeAnswer(first, second)],
    [tcpPacket(first, second, 0), tcpPacket(first, second, 1)],
    [tcpPacket(first, outside, 0), tcpPacket(first, outside, 1)],
  ]
  const end = performance.now() + MOST_MILLISECONDS
  for (let turn = 0, sent = 0, round = 0; turn < TURNS && performance.now() < end; turn++) {
    if (counters[COUNTER.txDatagrams] === sent) {
      // The last ones have spent their hops.
      for (const packet of rounds[round++ % rounds.length]) {
        const at = outbox.reserve()
        outbox.commit(1, keys.seal(ports.sendKey[1], packet, 0, packet.size, outbox.arena, at))
      }
      outbox.commit(1, writeControl(outbox))
      outbox.flush()
      kernel?.write(echo, echo.size)
      kernel?.write(empty6, empty6.size)
      signals[SIGNAL.wake] = 1
    }
    sent = counters[COUNTER.txDatagrams]
    loops[turn & 1].turn()
  }
}

/** Writes the beginning of an acknowledgement, which is a packet of the control channel. Returns its length. */
function writeControl(outbox: Outbox): number {
  outbox.arena.bytes[outbox.reserve()] = ACKNOWLEDGEMENT << 3
  return CONTROL_BYTES
}
