// `npm run mesh`: see the product work, without root. Three controllers and their clients on 127.0.0.1, through the real
// commands: init, invite, join, up, client add; the clients are probes that ping each other through the mesh.
import { rm } from 'node:fs/promises'
import { readSeconds } from './arguments.ts'
import { DemoClient } from './demo-client.ts'
import { DemoController, makeDirectory } from './demo-controller.ts'
import { DemoKeys } from './demo-keys.ts'
import { DemoScreen } from './demo-screen.ts'
import { reportError, UsageError } from './errors.ts'
import { Output } from './output.ts'
import { untilInterrupted } from './signals.ts'

const MESH = 'demo'
const SUBNET = '10.77.0.0/16'
const CONTROLLERS = ['alpha', 'beta', 'gamma']
const CLIENTS = ['anna', 'ben', 'carl']
/** Between two looks at the mesh, ms: on a terminal, and in a log that somebody reads later. */
const REFRESH = { terminal: 1000, log: 5000 }

/** Runs until interrupted, or for `seconds` once all is up; false if a client never reached another. */
async function demo(seconds: number): Promise<boolean> {
  const output = new Output(false)
  using interrupted = untilInterrupted(true)
  const { signal } = interrupted
  const directory = await makeDirectory(line => output.line(line))
  const controllers: DemoController[] = []
  const clients: DemoClient[] = []
  let keys: DemoKeys | undefined
  try {
    for (const name of CONTROLLERS) {
      const [founder] = controllers
      output.line(founder ? `${name} joins by an invitation of ${founder.name}` : `${name} founds the mesh`)
      const mesh = founder ? { joins: founder } : { name: MESH, subnet: SUBNET }
      controllers.push(await DemoController.start({ directory, name, signal }, mesh))
    }
    for (const [index, name] of CLIENTS.entries()) {
      clients.push(await DemoClient.add(controllers[index % controllers.length], name))
    }
    for (const [index, client] of clients.entries()) client.connect(clients[(index + 1) % clients.length])
    introduce(output, controllers, clients)
    const screen = new DemoScreen(output)
    const say = (line: string) => screen.say(line)
    keys = new DemoKeys({
      controllers,
      first: clients[0],
      say,
      interrupt: () => process.kill(process.pid, 'SIGINT'),
    })
    const end = performance.now() + seconds * 1000
    while (!signal.aborted && performance.now() < end) {
      await sleep(output.interactive ? REFRESH.terminal : REFRESH.log, signal)
      await screen.show(controllers, clients)
    }
    return signal.aborted || clients.every(client => client.answered > 0)
  } catch (error) {
    // Whoever interrupts a start gets an end, not the complaints of its parts.
    if (signal.aborted) return true
    throw error
  } finally {
    await keys?.close()
    output.line('stopping')
    await Promise.allSettled(clients.map(client => client.close()))
    const stopped = await Promise.all(controllers.map(controller => controller.stop()))
    await rm(directory, { recursive: true, force: true })
    output.line(stopped.every(Boolean) ? `stopped; ${directory} is removed` : 'a controller had to be killed')
  }
}

/** What else a person can do while it runs. */
function introduce(output: Output, controllers: DemoController[], clients: DemoClient[]): void {
  const [{ dataDir }] = controllers
  output.line()
  output.line(`Mesh ${MESH} (${SUBNET}) is up: ${controllers.length} controllers, ${clients.length} clients.`)
  output.facts([
    ...controllers.map((each): [string, string] => [each.name, `${each.listen}, data in ${each.dataDir}`]),
    ...clients.map((each): [string, string] => [each.name, `${each.address}, clientpack ${each.packFile}`]),
  ])
  output.line()
  output.line('In another terminal:')
  output.line(`  npx overmesh --data ${dataDir} status`)
  output.line(`  npx overmesh --data ${dataDir} client add me --out me.ovpn && sudo openvpn --config me.ovpn`)
  output.line(`  ping ${clients[0].address}`)
  output.line()
  output.line(`Press k to kill the controller that ${clients[0].name} is on, and again to bring it back.`)
  output.line('Ctrl-C ends everything.')
  output.line()
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ms)
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    if (signal.aborted) done()
    else signal.addEventListener('abort', done)
  })
}

/** `--seconds N` ends it by itself. */
function readArguments(args: string[]): number {
  if (args.length === 0) return Number.POSITIVE_INFINITY
  if (args.length === 2 && args[0] === '--seconds') return readSeconds('--seconds', 86_400)(args[1])
  throw new UsageError(`'${args.join(' ')}' is not understood; only --seconds N is`)
}

try {
  const good = await demo(readArguments(process.argv.slice(2)))
  if (!good) process.exitCode = 1
} catch (error) {
  process.exitCode = reportError(error, process.stderr)
}
