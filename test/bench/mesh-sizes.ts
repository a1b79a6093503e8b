// What a write costs a mesh by its size: simulated controllers, all in this process, on a network that loses nothing.
// Frames are counted as the core makes them. Up to `FEW` peers they go straight to each; where there are more everyone hands
// gossip on to six others, as gossipsub does to its five but for the sender. What gossipsub says of itself, and the
// framing of streams, noise and TCP, come on top.
import { MeshWorld } from '../simulation/mesh-world.ts'

export interface SizeFigures {
  controllers: number
  writes: number
  /** Of one write, over all hops of channels and gossip, to all controllers together. */
  bytesPerWrite: number
  /** ms of CPU of one write at one controller, signatures and store in memory included. */
  cpuMsPerWrite: number
  /** What one controller sends while nothing happens, each second. */
  idleBytesPerSecond: number
  /** Simulated ms from the last write until all records are equal. */
  convergedMs: number
}

const MINUTE = 60_000
const IDLE = 10_000
/** Simulated ms that are waited for at most. */
const PATIENCE = 120_000

export async function measureSize(controllers: number, writes: number): Promise<SizeFigures> {
  const world = new MeshWorld(1)
  const { clockwork } = world
  await world.found(controllers, () => 0)
  const areEqual = () => new Set(world.up.map(({ process }) => process!.replica.hash())).size === 1
  const areConnected = () =>
    world.up.every(({ process }) => process!.port.connected.length === controllers - 1)
  if ((await clockwork.until(() => areConnected() && areEqual(), PATIENCE)) === undefined)
    throw new Error(`${controllers} controllers did not become one mesh`)
  let bytes = 0
  let start = clockwork.time
  for (const { process } of world.up) {
    const { port } = process!
    const { send, hear } = port
    port.send = (peer, frame) => {
      bytes += frame.length
      return send.call(port, peer, frame)
    }
    port.hear = (name, frame, from, isRepeated) => {
      bytes += frame.length
      hear.call(port, name, frame, from, isRepeated)
    }
  }
  const idle = await costOf(() => clockwork.advance(IDLE))
  const idleBytes = bytes
  bytes = 0
  const busy = await costOf(async () => {
    for (let write = 0; write < writes; write++) {
      const at = clockwork.choose(world.up)!
      const op = { kind: 'setting' as const, id: `s${write}`, value: { value: 'x'.repeat(100) } }
      if (!(await world.within(world.write(at, [op])))) throw new Error('a write was refused')
      const next = (MINUTE * (write + 1)) / writes
      const passed = clockwork.time - start
      if (passed < next) await clockwork.advance(next - passed)
    }
  })
  const seconds = (clockwork.time - start) / 1000
  const convergedMs = await clockwork.until(areEqual, PATIENCE, 10)
  if (convergedMs === undefined) throw new Error(`${controllers} controllers did not converge`)
  const restBytes = (idleBytes / (IDLE / 1000)) * seconds
  const restMs = (idle / (IDLE / 1000)) * seconds
  return {
    controllers,
    writes,
    bytesPerWrite: (bytes - restBytes) / writes,
    cpuMsPerWrite: Math.max(0, busy - restMs) / writes / controllers,
    idleBytesPerSecond: idleBytes / (IDLE / 1000) / controllers,
    convergedMs,
  }

  async function costOf(work: () => Promise<unknown>): Promise<number> {
    start = clockwork.time
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
}
