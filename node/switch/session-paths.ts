// Keeps the MTU of each session's port to what its path takes: what the kernel knows of the way (its interface, and what
// routers have told), and what probes find out. MSS clamping and ICMP then let senders know.
import {
  ECHO_PROBE_LENGTH,
  echoProbeAnswer,
  echoProbeSequence,
  echoProbeSize,
  writeEchoProbe,
} from './echo-probe.ts'
import { BASE_SIZE } from './path-mtu.ts'
import type { Ports } from './ports.ts'
import { SessionPath } from './session-path.ts'
import type { SizeProber } from './size-prober.ts'
import { nameLength, PATH_STRIDE } from './socket-address.ts'
import type { Arena } from './sys/arena.ts'
import { RouteMtu } from './sys/route-mtu.ts'

/** Milliseconds from the opening or moving of a port to the first probes: the client sets up its interface first. */
const FIRST_LOOK = 200
/** Milliseconds from one look at a port that sends long packets to the next, by the kernel and by probes. */
const KERNEL_INTERVAL = 1000
const PROBE_INTERVAL = 10_000

export class SessionPaths {
  readonly #ports: Ports
  readonly #prober: Pick<SizeProber, 'plain' | 'overhead' | 'add' | 'flush'>
  readonly #from: number
  readonly #routes: Pick<RouteMtu, 'ask' | 'close'>
  /** MTU that each session's port was opened with, 0 for others, and what the kernel's knowledge leaves of it. */
  readonly #wanted: Int32Array
  readonly #limit: Int32Array
  /** When the kernel and the client are to be asked again. */
  readonly #kernelAt: Float64Array
  readonly #probeAt: Float64Array
  readonly #looks: (SessionPath | undefined)[] = []

  /** @param from the overlay address that probes come from, u32 @param routes what the kernel knows */
  constructor(
    ports: Ports,
    prober: Pick<SizeProber, 'plain' | 'overhead' | 'add' | 'flush'>,
    from: number,
    routes: Pick<RouteMtu, 'ask' | 'close'> = new RouteMtu(),
  ) {
    this.#routes = routes
    this.#ports = ports
    this.#prober = prober
    this.#from = from
    this.#wanted = new Int32Array(ports.capacity + 1)
    this.#limit = new Int32Array(ports.capacity + 1)
    this.#kernelAt = new Float64Array(ports.capacity + 1)
    this.#probeAt = new Float64Array(ports.capacity + 1)
  }

  /** Takes charge of a port that has just been opened, if it is a session's. */
  open(port: number): void {
    if (this.#ports.link[port] !== 0) return
    this.#wanted[port] = this.#ports.mtu[port]
    this.moved(port)
  }

  /** Forgets a port that is about to be closed. */
  close(port: number): void {
    this.#looks[port] = undefined
    this.#wanted[port] = 0
  }

  /** A port has another path than before. What is known of the old one holds until more is known. */
  moved(port: number): void {
    const { large, now } = this.#ports
    if (this.#wanted[port] === 0) return
    this.#looks[port] = undefined
    this.#limit[port] = this.#wanted[port]
    large[port] = 1
    this.#kernelAt[port] = now
    this.#probeAt[port] = now + FIRST_LOOK
  }

  /** Looks after the path of an open port; to be called some times a second, and `flush` after the last. */
  tick(port: number, now: number): void {
    const { large, sendKey } = this.#ports
    if (this.#wanted[port] === 0 || sendKey[port] === 0) return
    if (large[port] === 0 && this.#looks[port] === undefined) return
    if (now >= this.#kernelAt[port]) this.#askKernel(port, now)
    let look = this.#looks[port]
    if (look === undefined) {
      if (now < this.#probeAt[port]) return
      this.#probeAt[port] = now + PROBE_INTERVAL
      look = new SessionPath(this.#limit[port] + this.#prober.overhead(port))
      this.#looks[port] = look
    }
    const count = look.tick(now)
    if (count >= 0) this.#probe(port, 0, look.sequence)
    for (let i = 0; i < count; i++) this.#probe(port, look.sizes[i], look.sequence)
    this.#resize(port, look)
  }

  /** Sends what `tick` has left. */
  flush(): void {
    this.#prober.flush()
  }

  /** Takes the valid packet of `length` bytes that came from a session; false when it is no answer to a probe. */
  received(port: number, packet: Arena, length: number): boolean {
    const at = echoProbeAnswer(packet, length)
    if (at === 0) return false
    const look = this.#looks[port]
    if (look === undefined) return true
    look.answered(echoProbeSize(packet, at), echoProbeSequence(packet, at), this.#ports.now)
    this.#resize(port, look)
    return true
  }

  stop(): void {
    this.#routes.close()
  }

  #askKernel(port: number, now: number): void {
    const { paths } = this.#ports
    this.#kernelAt[port] = now + KERNEL_INTERVAL
    const at = port * PATH_STRIDE
    const size = this.#routes.ask(paths, at, nameLength(paths, at))
    if (size === 0) return
    // Below that, underlay packets are fragmented: so little is no one's path, and anyone can claim it in ICMP.
    const room = Math.max(BASE_SIZE, size) - this.#prober.overhead(port)
    const limit = Math.min(this.#wanted[port], room)
    if (limit === this.#limit[port]) return
    this.#limit[port] = limit
    this.#ports.mtu[port] = Math.min(this.#ports.mtu[port], limit)
    // What was found out with another full size does not count.
    this.#looks[port] = undefined
    this.#ports.large[port] = 1
    this.#probeAt[port] = Math.min(this.#probeAt[port], now + FIRST_LOOK)
  }

  #probe(port: number, size: number, sequence: number): void {
    const { plain } = this.#prober
    const length = size === 0 ? ECHO_PROBE_LENGTH : size - this.#prober.overhead(port)
    if (length < ECHO_PROBE_LENGTH || length > plain.size) return
    writeEchoProbe(plain, length, this.#from, this.#ports.address[port] >>> 0, size, sequence)
    this.#prober.add(port, length)
  }

  #resize(port: number, look: SessionPath): void {
    const { large, mtu, unsegmented } = this.#ports
    if (!look.known) return
    const before = mtu[port]
    mtu[port] = Math.min(this.#limit[port], look.size - this.#prober.overhead(port))
    // What the kernel would not cut into segments may have been too long for this path.
    if (mtu[port] !== before) unsegmented[port] = 0
    if (!look.done) return
    this.#looks[port] = undefined
    // The probes themselves were long, too: only what is sent from now on is a reason to look again.
    large[port] = 0
  }
}
