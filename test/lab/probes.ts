// A program that is many clients at once, without root: `probes.ts FILE`, a file with the path of a pack on each line. Prints
// `connected N` each time all N are connected, `lost PACK REASON` when one is not any more, and ends by SIGTERM.
import { readFileSync } from 'node:fs'
import { openTunnel } from '../../node/cli/tunnel.ts'

const packs = readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)
const connected = new Set<string>()
const everConnected = new Set<string>()

const tunnels = packs.map((path, index) => {
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
        if (connected.size === packs.length) process.stdout.write(`connected ${connected.size}\n`)
      },
      packet() {},
      retrying: lost,
      ended: lost,
    },
  )
})

process.once('SIGTERM', async () => {
  await Promise.all(tunnels.map(tunnel => tunnel.close()))
  process.exit(0)
})
