// The two hubs that are compared, alike in everything that is not theirs: host, MTU, cipher, keys, clients.
import { join } from 'node:path'
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import { Controller } from '../lab/controller.ts'
import type { Host } from '../lab/host.ts'
import { Lab } from '../lab/lab.ts'
import { OpenvpnClient, writePack } from '../lab/openvpn-client.ts'
import type { LabProcess } from '../lab/process.ts'
import { StockServer } from '../lab/stock-server.ts'

export type HubName = 'openvpn' | 'overmesh'
export const HUB_NAMES: readonly HubName[] = ['openvpn', 'overmesh']

/** A hub that runs in a lab of its own, with room for hosts of clients. */
export interface Hub {
  readonly name: HubName
  readonly lab: Lab
  readonly host: Host
  /** The server whose CPU time and memory count. */
  readonly process: LabProcess
  /** Issues so many credentials; returns the paths of their profiles. */
  addClients(count: number): Promise<string[]>
  /** Lets clients reach a network by the hub's kernel; returns the hub's own overlay address. */
  openGateway(network: string): Promise<string>
  close(): Promise<void>
}

export interface HubOptions {
  /** Arguments of Node for Overmesh, such as `--trace-gc`. */
  nodeArgs?: string[]
}

export async function startHub(name: HubName, options: HubOptions = {}): Promise<Hub> {
  const lab = await Lab.create(`bench-${name}`)
  try {
    const host = await lab.host('hub')
    return await (name === 'openvpn' ? startStock(lab, host) : startOvermesh(lab, host, options))
  } catch (error) {
    process.stderr.write(`${lab.logs()}\n`)
    await lab.close()
    throw error
  }
}

async function startStock(lab: Lab, host: Host): Promise<Hub> {
  const server = await StockServer.start(host, { options: ['duplicate-cn'] })
  let shared: string | undefined
  const addClients = async (count: number): Promise<string[]> => {
    shared ??= await server.addClient('client')
    return Array<string>(count).fill(shared)
  }
  const openGateway = async (): Promise<string> => server.address
  return {
    name: 'openvpn',
    lab,
    host,
    process: server.process,
    addClients,
    openGateway,
    close: () => lab.close(),
  }
}

async function startOvermesh(lab: Lab, host: Host, options: HubOptions): Promise<Hub> {
  const controller = await Controller.start(host, { upArgs: ['--log-level', 'warn'], ...options })
  const api = new RemoteController(apiSocketPath(controller.dataDir))
  let added = 0
  const addClients = async (count: number): Promise<string[]> => {
    const paths: string[] = []
    for (let i = 0; i < count; i++) {
      const name = `client-${added++}`
      const pack = await api.addClient({ name })
      paths.push(writePack(host, join(`${name}.ovpn`), Buffer.from(pack.content).toString('utf8')))
    }
    return paths
  }
  const openGateway = async (network: string): Promise<string> => {
    await api.addRoute({ cidr: network, via: `controller:${controller.name}` })
    return (await controller.status()).controller.address
  }
  return {
    name: 'overmesh',
    lab,
    host,
    process: controller.process,
    addClients,
    openGateway,
    close: () => lab.close(),
  }
}

export interface Pair {
  a: Host
  b: Host
  /** Overlay address of `b`. */
  address: string
}

/** Connects two stock clients on hosts of their own. */
export async function connectPair(hub: Hub): Promise<Pair> {
  const [a, b] = [await hub.lab.host('a'), await hub.lab.host('b')]
  const [packA, packB] = await hub.addClients(2)
  await OpenvpnClient.connect(a, packA)
  const second = await OpenvpnClient.connect(b, packB)
  return { a, b, address: await second.address() }
}

/** CPU seconds and bytes of the server while something runs. */
export async function cost<T>(hub: Hub, work: () => Promise<T>): Promise<{ value: T; cpuSeconds: number }> {
  const before = hub.process.cpuSeconds()
  const value = await work()
  return { value, cpuSeconds: hub.process.cpuSeconds() - before }
}
