// A controller's gateway without the controller: takes descriptions from a file as it changes, says on one line whether it is up
// and what its problems are, and stops on SIGTERM. `node gateway-end.ts JSON`.
import { readFileSync } from 'node:fs'
import { DataDirectory } from '../../node/data-directory.ts'
import { Gateway } from '../../node/gateway/gateway.ts'

export interface GatewayEndInit {
  /** Data directory. */
  directory: string
  id: string
  /** Holds a GatewayDescription in JSON. */
  file: string
  lookMs?: number
  newsMs?: number
}

const { directory, id, file, ...times } = JSON.parse(process.argv[2]) as GatewayEndInit
const gateway = await Gateway.start({ directory: new DataDirectory(directory), id, grainMs: 20, ...times })
let said = ''
const watch = setInterval(() => {
  gateway.update(JSON.parse(readFileSync(file, 'utf8')))
  const words = `${gateway.isUp ? 'up' : 'down'} ${JSON.stringify(gateway.problems())}`
  if (words !== said) console.log(words)
  said = words
}, 20)
process.once('SIGTERM', async () => {
  clearInterval(watch)
  await gateway.stop()
})
console.log('started')
