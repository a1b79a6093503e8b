// Many clients at once: what a handshake costs the server, and what an open session weighs.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseProfile } from '../../node/vpn/profile.ts'
import { NODE } from '../lab/controller.ts'
import { Lab, sleep, until } from '../lab/lab.ts'
import type { LabProcess } from '../lab/process.ts'
import { World } from '../unit/vpn-endpoint/world.ts'
import type { Hub } from './hubs.ts'

export interface Crowd {
  clients: number
  handshakesPerCpuSecond: number
  /** CPU seconds of the server for one client to get in. */
  cpuSecondsPerHandshake: number
  /** Memory of the server for one open session: on Node what V8 and malloc have in use after a garbage collection, else what is resident. */
  bytesPerSession: number
  /** From the first client's start until all were in. */
  seconds: number
}

/** Arguments of Node for a server that is to be weighed. */
export const WEIGHED = ['--expose-gc', '--import', join(import.meta.dirname, 'collect.ts')]

/** Until what a handshake needed is not needed any more. */
const SETTLE_SECONDS = 3

/**
 * Clients that come before those whose handshakes are measured, so that the server has compiled and allocated what it does once, and
 * after them, to be weighed: as shares of those. Not the same ones, since full collections just before would have V8 compile again.
 */
const FIRST_SHARE = 0.2
const WEIGHED_SHARE = 0.5
const firstOf = (clients: number): number => Math.ceil(FIRST_SHARE * clients)
const weighedOf = (clients: number): number => Math.ceil(WEIGHED_SHARE * clients)
const allOf = (clients: number): number => firstOf(clients) + clients + weighedOf(clients)

/**
 * What it costs a server to let so many clients in, and what they weigh.
 * @param onNode whether the server was started with {@link WEIGHED}
 * @param connect lets so many further clients in, and resolves when all are connected
 */
async function weigh(
  server: LabProcess,
  onNode: boolean,
  clients: number,
  connect: (count: number) => Promise<void>,
): Promise<Crowd> {
  const heldBytes = async (): Promise<number> => {
    await sleep(SETTLE_SECONDS * 1000)
    if (!onNode) return server.residentBytes()
    const mark = server.mark()
    server.signal('SIGUSR2')
    return Number((await server.waitFor(/^holds (\d+) bytes$/m, 10, mark))[1])
  }
  await connect(firstOf(clients))
  await sleep(SETTLE_SECONDS * 1000)
  const started = performance.now()
  const cpu = server.cpuSeconds()
  await connect(clients)
  const seconds = (performance.now() - started) / 1000
  const cpuSecondsPerHandshake = (server.cpuSeconds() - cpu) / clients
  const memory = await heldBytes()
  await connect(weighedOf(clients))
  return {
    clients,
    handshakesPerCpuSecond: 1 / cpuSecondsPerHandshake,
    cpuSecondsPerHandshake,
    bytesPerSession: ((await heldBytes()) - memory) / weighedOf(clients),
    seconds,
  }
}

/** Stock clients without a TUN, all started at once. */
export async function measureStockCrowd(hub: Hub, clients: number): Promise<Crowd> {
  const host = await hub.lab.host('crowd')
  const packs = await hub.addClients(allOf(clients))
  const argv = ['--dev', 'null', '--ifconfig-noexec', '--route-noexec', '--verb', '3', '--hand-window', '60']
  return weigh(hub.process, hub.name === 'overmesh', clients, async count => {
    const started = await Promise.all(
      packs
        .splice(0, count)
        .map((pack, index) => host.spawn(`crowd ${index}`, ['openvpn', '--config', pack, ...argv])),
    )
    await Promise.all(started.map(each => each.waitFor(/Initialization Sequence Completed/, 90)))
  })
}

/** Clients in one program of Overmesh's own, so that far more of them fit on the machine. */
export async function measureProbeCrowd(hub: Hub, clients: number): Promise<Crowd> {
  const host = await hub.lab.host('probes')
  const packs = await hub.addClients(allOf(clients))
  return weigh(hub.process, hub.name === 'overmesh', clients, async count => {
    const list = join(hub.lab.directory, `packs-${packs.length}`)
    writeFileSync(list, packs.splice(0, count).join('\n'))
    const load = await host.spawn('probes', [NODE, join(import.meta.dirname, '../lab/probes.ts'), list])
    await load.waitFor(new RegExp(`^connected ${count}$`, 'm'), 120)
  })
}

/**
 * The same for node:tls alone, with the certificates of a mesh and as much to verify: the least that a server on Node needs
 * that leaves TLS to Node.
 */
export async function measureTlsAlone(clients: number): Promise<Crowd> {
  const lab = await Lab.create('bench-tls')
  try {
    const host = await lab.host('both')
    writeCertificates(lab.directory)
    const program = join(import.meta.dirname, 'tls-alone.ts')
    const server = await host.spawn('tls server', [NODE, ...WEIGHED, program, 'serve', lab.directory])
    const [, port] = await server.waitFor(/listening on (\d+)/)
    let settled = server.cpuSeconds()
    await until('the server has started', async () => {
      await sleep(200)
      const now = server.cpuSeconds()
      const idle = now === settled
      settled = now
      return idle
    })
    return await weigh(server, true, clients, async count => {
      const argv = [NODE, program, 'connect', lab.directory, port, String(count)]
      const load = await host.spawn('tls clients', argv)
      await load.waitFor(/^connected/m, 60)
    })
  } finally {
    await lab.close()
  }
}

function writeCertificates(directory: string): void {
  const world = new World()
  const { ca, cert, key } = world.credentials
  const client = parseProfile(world.pack('client'))
  const files = {
    ...{ 'ca.crt': ca.join(''), 'server.crt': cert, 'server.key': key },
    ...{ 'root.crt': client.ca, 'client.crt': client.cert, 'client.key': client.key },
  }
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(directory, name), text, { mode: 0o600 })
}
