// A program that is many clients, without root: `probes.ts FILE [AT_ONCE]`, a file with the path of a pack on each line, and how
// many may be on their way in at once (all of them). Prints `connected N` each time all N are connected, `lost PACK REASON` when one is not any more, and ends by SIGTERM.
import { readFileSync } from 'node:fs'
import type { Tunnel } from '../../node/cli/prober.ts'
import { openTunnel } from '../../node/cli/tunnel.ts'

const packs = readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)
const atOnce = Number(process.argv[3] ?? packs.length)
const connected = new Set<string>()
const everConnected = new Set<string>()

const tunnels: Tunnel[] = []

/** Starts those that may start now. */
function startMore(): void {
  while (tunnels.length < packs.length && tunnels.length - everConnected.size < atOnce)
    tunnels.push(start(packs[tunnels.length], tunnels.length))
}

function start(path: string, index: number): Tunnel {
  const id = `${index} ${path}`
  const lost = (reason: string): void => {
    connected.delete(id)
    // What is tried again before the first connection was not lost.
    process.stdout.write(`${everConnected.has(id) ? 'lost' : 'waiting'} ${path} ${reason}\n`)
  }
  return openTunnel(
    { pack: readFileSync(path, 'utf8') },
    {
      connected() {
        connected.add(id)
        everConnected.add(id)
        startMore()
        if (connected.size === packs.length) process.stdout.write(`connected ${connected.size}\n`)
      },
      updated() {},
      packet() {},
      retrying: lost,
      ended: lost,
    },
  )
}

startMore()
process.once('SIGTERM', async () => {
  await Promise.all(tunnels.map(tunnel => tunnel.close()))
  process.exit(0)
})
