// What an attachment costs: TCP between a client and a host at a site, by a controller that has the site up, beside plain strongSwan
// between the same hosts. Every strongSwan here does ESP itself (kernel-libipsec). What that costs is not ours; what we add is.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Controller } from '../lab/controller.ts'
import type { Host } from '../lab/host.ts'
import { iperf, iperfServer } from '../lab/iperf.ts'
import { type Lab, until } from '../lab/lab.ts'
import { OpenvpnClient } from '../lab/openvpn-client.ts'
import { PlainStrongSwan } from '../lab/plain-strongswan.ts'
import { cpuSecondsOf } from '../lab/process.ts'
import { Site } from '../lab/site.ts'
import { StockServer } from '../lab/stock-server.ts'
import { withLab } from './with-lab.ts'

/** What carries the client's packets to the site: strongSwan alone, and a stock OpenVPN server or a controller in front of it. */
export type Carrier = 'strongswan' | 'openvpn' | 'overmesh'
export const CARRIERS: readonly Carrier[] = ['strongswan', 'openvpn', 'overmesh']

/** CPU times are seconds for 10^9 bytes of TCP payload. */
export interface AttachmentCost {
  megabitsPerSecond: number
  /** Of strongSwan, which does the ESP at both ends of the tunnel: beside the client, and at the site. */
  here: number
  atSite: number
  /** Of the program in front of it; 0 where there is none. */
  front: number
}

export interface AttachmentCosts {
  toSite: AttachmentCost
  fromSite: AttachmentCost
}

/** What is measured between. */
interface Setting {
  readonly client: Host
  readonly site: Site
  readonly herePid: number
  readonly sitePid: number
  readonly frontPid: number | undefined
}

const SITE = '192.168.20.0/24'
/** The client's network where strongSwan is alone. */
const LAN = { network: '10.88.0.0/16', hub: '10.88.0.1/16', client: '10.88.0.2/16' }
const ESP = 'aes256gcm16'
const SECRET = 'a secret that both ends of the benchmark know'
const PORT = 5306

export const measureAttachment = (carrier: Carrier, seconds: number): Promise<AttachmentCosts> =>
  withSetting(carrier, async setting => ({
    toSite: await measure(setting, seconds, false),
    fromSite: await measure(setting, seconds, true),
  }))

function withSetting<T>(carrier: Carrier, work: (setting: Setting) => Promise<T>): Promise<T> {
  return withLab(`bench-ipsec-${carrier}`, async lab => {
    const setting = await SETTINGS[carrier](lab)
    await iperfServer(setting.site.inner, PORT)
    return work(setting)
  })
}

async function measure(setting: Setting, seconds: number, reverse: boolean): Promise<AttachmentCost> {
  const { client, site, herePid, sitePid, frontPid } = setting
  const options = { port: PORT, reverse }
  await iperf(client, site.address, { seconds: 1, ...options }) // warms caches, windows and the compiler
  const spent = () => [herePid, sitePid, frontPid].map(pid => (pid === undefined ? 0 : cpuSecondsOf(pid)))
  const before = spent()
  const { bytes, bitsPerSecond } = await iperf(client, site.address, { seconds, ...options })
  const [here, atSite, front] = spent().map((after, index) => (after - before[index]) / (bytes / 1e9))
  return { megabitsPerSecond: bitsPerSecond / 1e6, here, atSite, front }
}

const SETTINGS: Record<Carrier, (lab: Lab) => Promise<Setting>> = {
  async strongswan(lab) {
    const hub = await lab.host('hub')
    const client = await lab.host('client')
    await hub.ip('address', 'add', LAN.hub, 'dev', 'eth0')
    await client.ip('address', 'add', LAN.client, 'dev', 'eth0')
    await client.ip('route', 'add', SITE, 'via', LAN.hub.replace(/\/.*/, ''))
    const site = await Site.create(lab, 'site', SITE)
    return { client, site, ...(await plainPair(hub, site)), frontPid: undefined }
  },

  async openvpn(lab) {
    const hub = await lab.host('hub')
    const client = await lab.host('client')
    const server = await StockServer.start(hub)
    const { dev } = await OpenvpnClient.connect(client, await server.addClient('client'))
    await client.ip('route', 'add', SITE, 'dev', dev)
    const site = await Site.create(lab, 'site', SITE)
    return { client, site, ...(await plainPair(hub, site)), frontPid: server.process.pid }
  },

  async overmesh(lab) {
    const controller = await Controller.start(await lab.host('hub'), { upArgs: ['--log-level', 'warn'] })
    const client = await lab.host('client')
    const site = await Site.create(lab, 'site', SITE)
    await site.attach(controller, ['10.77.0.0/16'], '--initiate', '--esp-proposal', ESP)
    const { process: router } = await site.start(controller)
    await site.isUp(controller, 20)
    await OpenvpnClient.connect(client, await controller.addClient('client'))
    await reached(client, site)
    const { pid } = JSON.parse(readFileSync(join(controller.dataDir, 'run', 'ipsec', 'charon.pid'), 'utf8'))
    return { client, site, herePid: pid, sitePid: router.pid, frontPid: controller.process.pid }
  },
}

/** strongSwan at the hub and at the site, and forwarding at the hub. */
async function plainPair(hub: Host, site: Site): Promise<{ herePid: number; sitePid: number }> {
  await hub.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0')
  await hub.exec('sysctl', '-qw', 'net.ipv4.conf.eth0.send_redirects=0')
  const answering = configuration('hub', 'site', site.router.ip4, LAN.network, SITE, 'none')
  const { process } = await PlainStrongSwan.start(hub, { configuration: answering })
  const dialling = configuration('site', 'hub', hub.ip4, SITE, LAN.network, 'start')
  const router = await PlainStrongSwan.start(site.router, { configuration: dialling })
  await router.said(/CHILD_SA .* established/, 15)
  return { herePid: process.pid, sitePid: router.process.pid }
}

function configuration(
  local: string,
  remote: string,
  address: string,
  localSubnet: string,
  remoteSubnet: string,
  start: 'none' | 'start',
): string {
  return `connections {
  net {
    version = 2
    remote_addrs = ${address}
    local {
      auth = psk
      id = ${local}
    }
    remote {
      auth = psk
      id = ${remote}
    }
    children {
      net {
        local_ts = ${localSubnet}
        remote_ts = ${remoteSubnet}
        esp_proposals = ${ESP}
        start_action = ${start}
      }
    }
  }
}
secrets {
  ike-net {
    secret = "${SECRET}"
  }
}
`
}

const reached = (client: Host, site: Site): Promise<number> =>
  until('the client reaches the site', async () => {
    return (await client.attempt(['ping', '-c', '1', '-W', '1', site.address])).code === 0
  })
