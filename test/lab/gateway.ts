// A lab for gateways: `gate` with a TUN of the overlay, `peer` in the overlay behind it, `web` in the Internet, and `lan` in a network of
// the gate's own. Switches carry the overlay, which take whatever the peer sends to the gate's kernel.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { GatewayDescription, GatewayDescription6 } from '../../node/gateway/description.ts'
import { parseCidr, parseIpv4 } from '../../node/net/ip.ts'
import { parseCidr6 } from '../../state/address6.ts'
import { attempt, run } from './command.ts'
import type { GatewayEndInit } from './gateway-end.ts'
import type { Host } from './host.ts'
import { type Lab, until } from './lab.ts'
import type { LinkEndInit } from './link-end.ts'
import type { LabProcess } from './process.ts'

export const PEER = '10.77.0.11'
export const GATE = '10.77.0.10'
export const LAN_HOST = '172.20.1.2'
export const PEER6 = 'fd00:77::a4d:b'
export const GATE6 = 'fd00:77::a4d:a'
export const LAN_GATE6 = '2001:db8:20::1'
export const LAN_HOST6 = '2001:db8:20::2'
export const TUN = 'overlay'

export const prefix = (text: string) => parseCidr(text)!

export const prefix6 = (text: string) => parseCidr6(text)!

/** IPv6 of a sealed gateway, but for `changes`. */
export function six(changes: Partial<GatewayDescription6>): GatewayDescription6 {
  return { subnet: prefix6('fd00:77::/64'), kernelRoutes: [], forwarded: [], masqueraded: [], ...changes }
}

/** ms after which a gateway looks at the kernel again. */
const LOOK_MS = 500

/** A sealed gateway, but for `changes`. */
export function description(changes: Partial<GatewayDescription> = {}): GatewayDescription {
  return {
    tunName: TUN,
    subnet: prefix('10.77.0.0/16'),
    kernelRoutes: [],
    forwarded: [],
    masqueraded: [],
    ...changes,
  }
}

export class GatewayLab {
  readonly lab: Lab
  gate!: Host
  peer!: Host
  web!: Host
  lan!: Host
  #starts = 0
  readonly #gateways: RunningGateway[] = []

  constructor(lab: Lab) {
    this.lab = lab
  }

  async prepare(): Promise<void> {
    this.gate = await this.lab.host('gate')
    this.peer = await this.lab.host('peer')
    this.web = await this.lab.host('web')
    this.lan = await this.lab.host('lan')
    const { gate, peer, web, lan } = this
    const cable = [
      'link',
      'add',
      'name',
      'lan0',
      'type',
      'veth',
      'peer',
      'name',
      'eth1',
      'netns',
      lan.namespace,
    ]
    await gate.ip(...cable)
    for (const [host, device, address] of [
      [gate, 'lan0', '172.20.1.1'],
      [lan, 'eth1', LAN_HOST],
    ] as const) {
      await host.ip('address', 'add', `${address}/24`, 'dev', device)
      const address6 = host === gate ? LAN_GATE6 : LAN_HOST6
      await host.ip('address', 'add', `${address6}/64`, 'dev', device, 'nodad')
      await host.ip('link', 'set', device, 'up')
    }
    await lan.ip('link', 'set', 'eth0', 'down')
    await lan.ip('route', 'add', '10.77.0.0/16', 'via', '172.20.1.1')
    await lan.ip('route', 'add', 'fd00:77::/64', 'via', LAN_GATE6)
    // A stranger who knows the way: only the gate's rules keep it out.
    await web.ip('route', 'add', '10.77.0.0/16', 'via', gate.ip4)
    await web.ip('route', 'add', 'fd00:77::/64', 'via', gate.ip6)
    const ends = await Promise.all([this.#link(0, gate, peer), this.#link(1, peer, gate)])
    for (const end of ends) await end.waitFor(/^up at/m)
    // The peer sends everything into the overlay but for the underlay of the link itself.
    await peer.ip('route', 'add', `${gate.ip4}/32`, 'dev', 'eth0')
    await peer.ip('route', 'delete', '192.0.2.0/24', 'dev', 'eth0')
    await peer.ip('route', 'add', 'default', 'dev', TUN)
    await peer.ip('-6', 'address', 'flush', 'dev', 'eth0', 'scope', 'global')
    await peer.ip('-6', 'route', 'add', 'default', 'dev', TUN)
  }

  #link(end: number, host: Host, other: Host): Promise<LabProcess> {
    const init: LinkEndInit = {
      end,
      secret: 'gateways',
      here: host.ip4,
      there: other.ip4,
      address: parseIpv4(end === 0 ? GATE : PEER)!,
      other: parseIpv4(end === 0 ? PEER : GATE)!,
      routes: [{ address: 0, length: 0, to: end === 0 ? 'tun' : 'link' }],
      subnet6: prefix6('fd00:77::/64'),
      routes6: [{ ...prefix6('::/0'), to: end === 0 ? 'tun' : 'link' }],
    }
    const script = new URL('link-end.ts', import.meta.url).pathname
    return host.spawn(`link end ${host.name}`, [process.execPath, script, JSON.stringify(init)])
  }

  /** Starts a gateway on the gate. */
  async gateway(id = 'one', under: readonly string[] = []): Promise<RunningGateway> {
    const gateway = await RunningGateway.start(this.gate, `${id} ${++this.#starts}`, id, under)
    this.#gateways.push(gateway)
    return gateway
  }

  /** Stops those that a test left running. */
  async stopGateways(): Promise<void> {
    for (const gateway of this.#gateways.splice(0)) await gateway.stop()
  }

  /** The rules of all controllers, and nothing of others. */
  async rules(): Promise<string> {
    const tables = [...(await this.gate.exec('nft', 'list', 'tables')).matchAll(/inet (overmesh-\S+)/g)]
    // One that goes meanwhile has no rules.
    const lists = tables.map(([, name]) => this.gate.attempt(['nft', 'list', 'table', 'inet', name]))
    return (await Promise.all(lists)).map(({ stdout }) => stdout).join('')
  }

  /** What is set in the gate's kernel, to compare. */
  async kernel(): Promise<string> {
    // The kernel's own IPv6 addresses get their routes only once nobody else was found to have them.
    await until(
      'its IPv6 addresses are its own',
      async () => (await this.gate.ip('-6', 'address', 'show', 'tentative')) === '',
    )
    const parts = [
      await this.gate.exec('nft', 'list', 'ruleset'),
      await this.gate.ip('route', 'show', 'table', 'all'),
      await this.gate.exec('cat', '/proc/sys/net/ipv4/ip_forward'),
      await this.gate.exec('sh', '-c', 'cd /proc/sys/net/ipv6/conf; grep . */forwarding */accept_ra'),
    ]
    return parts.join('---\n')
  }

  /** The source address by which a TCP connection arrives; undefined when none does within 2 s. */
  async connect(from: Host, to: Host, address: string, bytes = 0): Promise<string | undefined> {
    const port = 8000
    const answer = `s => { s.on('error', () => {}); s.end(s.remoteAddress + ' ' + 'x'.repeat(${bytes})) }`
    const serve = `require('net').createServer(${answer}).listen(${port}, () => console.log('listening'))`
    const server = await to.spawn(`server on ${to.name} ${++this.#starts}`, [process.execPath, '-e', serve])
    try {
      await server.waitFor(/listening/)
      const ask =
        `let all = ''; const s = require('net').connect(${port}, '${address}'); setTimeout(() => process.exit(1), 2000);` +
        `s.on('data', d => { all += d }).on('end', () => { console.log(all.length, all.split(' ')[0]); process.exit(0) })`
      const { code, stdout } = await attempt(from.command(process.execPath, '-e', ask))
      if (code !== 0) return undefined
      const [length, source] = stdout.trim().split(' ')
      return Number(length) > bytes ? source : undefined
    } finally {
      await server.kill()
    }
  }
}

export class RunningGateway {
  readonly process: LabProcess
  readonly #file: string

  private constructor(process: LabProcess, file: string) {
    this.process = process
    this.#file = file
  }

  static async start(
    host: Host,
    name: string,
    id: string,
    under: readonly string[],
  ): Promise<RunningGateway> {
    const directory = join(host.lab.directory, `gateway-${id}`)
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const file = join(directory, 'description.json')
    writeFileSync(file, JSON.stringify(description()))
    const init: GatewayEndInit = { directory, id, file, lookMs: 60_000, newsMs: LOOK_MS }
    const script = new URL('gateway-end.ts', import.meta.url).pathname
    const argv = [...under, process.execPath, script, JSON.stringify(init)]
    const started = await host.spawn(`gateway ${name}`, argv)
    await started.waitFor(/^started$/m)
    return new RunningGateway(started, file)
  }

  /** What it said last. */
  get says(): string {
    return [...this.process.output.matchAll(/^(?:up|down) .*$/gm)].at(-1)?.[0] ?? ''
  }

  /** Describes, and waits until the kernel holds it: `settled` is asked for that. */
  async describe(changes: Partial<GatewayDescription>, settled: () => Promise<boolean>): Promise<void> {
    writeFileSync(`${this.#file}.new`, JSON.stringify(description(changes)))
    renameSync(`${this.#file}.new`, this.#file)
    await until('the gateway is as described', settled, 5, 0.05)
  }

  stop(): Promise<unknown> {
    return this.process.stop()
  }
}

/** Whether nft takes a ruleset; nothing is set. */
export async function nftTakes(host: Host, text: string): Promise<void> {
  await run(host.command('nft', '-c', '-f', '-'), { input: text })
}
