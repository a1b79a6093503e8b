// A page of figures that lacks none: two controllers that run and are one mesh, a client, a webhook, and a site.
import type { TestContext } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import type { IkeSa } from '../../../node/ipsec/engine.ts'
import { joinMesh } from '../../../node/join.ts'
import { Exposition } from '../../../node/metrics/exposition.ts'
import { addIpsecMetrics, IpsecTraffic } from '../../../node/metrics/ipsec-metrics.ts'
import { UdpClient } from '../../../node/vpn/udp-client.ts'
import { newMesh, patientProfile, temporaryDirectory } from '../controller/home.ts'
import { type ReadMetric, readExposition } from '../metrics/exposition-check.ts'
import { ownPort } from '../own-ports.ts'

const HOST = '127.0.0.1'

export async function everyMetric(t: TestContext): Promise<ReadMetric[]> {
  const ports = [await ownPort(), await ownPort(), await ownPort(), await ownPort()]
  const [alphaPort, alphaMesh, betaPort, betaMesh] = ports.map(port => `${HOST}:${port}`)
  const alpha = await run(
    t,
    await newMesh(t, { public: [alphaPort], listen: [alphaPort], meshListen: alphaMesh }),
  )
  const { token } = await alpha.service.invite()
  const dataDir = await temporaryDirectory(t)
  await joinMesh({
    ...{ dataDir, token, controller: 'beta' },
    ...{ public: [betaPort], listen: [betaPort], meshListen: betaMesh },
  })
  await run(t, dataDir)

  await alpha.service.addWebhook({ name: 'chat', url: `http://${HOST}:9/`, types: ['capture-*'] })
  const pack = await alpha.service.addClient({ name: 'web' })
  const profile = patientProfile(pack.content)
  const client = new UdpClient(profile, { remote: { host: HOST, port: ports[0] }, reconnect: false })
  t.after(() => client.close())
  await client.connect(20_000)
  await client.ping((await alpha.service.status()).controller.gateway)
  alpha.apiMeter.answered('/v1/status', 'GET', 200, 0.001)
  while (!(await alpha.service.status()).controllers.find(({ name }) => name === 'beta')?.link.up)
    await new Promise(resolve => setTimeout(resolve, 50))
  const pages = [await alpha.service.metrics({ clients: true }), pageOfSite()]
  const metrics = new Map<string, ReadMetric>()
  for (const metric of pages.flatMap(readExposition)) metrics.set(metric.name, metric)
  return [...metrics.values()]
}

async function run(t: TestContext, dataDir: string): Promise<Controller> {
  const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  t.after(() => controller.stop())
  await controller.start()
  return controller
}

/** An IKE daemon that carries something cannot be had by every user: what it would tell. */
function pageOfSite(): string {
  const child = { spiIn: '1', spiOut: '2', bytesIn: 1, bytesOut: 1, packetsIn: 1, packetsOut: 1 }
  const sas = [{ tunnel: 'x', children: [child] }] as unknown as IkeSa[]
  const traffic = new IpsecTraffic()
  traffic.look(sas)
  const out = new Exposition()
  const attachments = [{ id: 'x', name: 'paris', up: true, here: true }]
  addIpsecMetrics(out, { running: true, attachments, sas, traffic })
  return out.text()
}
