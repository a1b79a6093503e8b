// OpenVPN 3, whose core is that of OpenVPN Connect: the client of Debian 13, and that of the Debian after it.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { fetchDebian } from './debian-suite.ts'
import { until } from './lab.ts'
import { writePack } from './openvpn-client.ts'
import { OPENVPN3_PACKAGES, Openvpn3Client } from './openvpn3-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

interface Kind {
  suite: string
  version: RegExp
  /** It learns new routes without connecting anew. */
  takesUpdates: boolean
}

const KINDS: Kind[] = [
  { suite: 'trixie', version: /^v3\.10\./, takesUpdates: false },
  { suite: 'forky', version: /^v?3\.\d\d/, takesUpdates: true },
]

describe('OpenVPN 3', () => {
  let controllers: Controller[]
  const use = useLab('openvpn3', async lab => {
    const alpha = await Controller.start(await lab.host('alpha'))
    const beta = await Controller.join(await lab.host('beta'), await alpha.invite())
    await beta.up()
    controllers = [alpha, beta]
  })
  const controllerOf = async (name: string): Promise<Controller | undefined> => {
    const { session } = await controllers[0].client(name)
    return controllers.find(each => each.name === session?.controller)
  }

  for (const { suite, version, takesUpdates } of KINDS) {
    test(`Debian ${suite}: connects, renews keys, learns routes, and goes on at a drain; its key is revoked`, async () => {
      const root = await fetchDebian(suite, OPENVPN3_PACKAGES)
      const host = await use.lab.host(suite)
      const text = readFileSync(await controllers[0].addClient(suite), 'utf8')
      const pack = writePack(host, `${suite}-renews.ovpn`, text.replace(/^verb 3$/m, 'verb 6\nreneg-sec 5'))
      const client = await Openvpn3Client.connect(host, pack, root)
      const used = (await controllerOf(suite))!
      const session = (await used.client(suite)).session!
      assert.match(session.version, version)
      assert.equal(session.cipher, 'AES-256-GCM')
      assert.equal(session.keyDerivation, 'tls-ekm')

      const ping = await Ping.start(host, '10.77.0.1', { interval: 0.05 })
      await ping.answered()
      const before = client.handshakes
      await until('keys were renewed', () => client.handshakes > before)
      const report = await ping.stop()
      assert.equal(report.lost, 0)

      const mark = client.mark()
      await used.cli('route', 'add', '172.30.0.0/16', '--via', `controller:${used.name}`)
      await until('the new route is there', async () => (await host.ip('route')).includes('172.30.0.0/16'))
      assert.equal(/PUSH UPDATE/.test(client.process.output.slice(mark)), takesUpdates)
      assert.equal(/AUTH_FAILED_TEMP/.test(client.process.output.slice(mark)), !takesUpdates)
      await used.cli('route', 'remove', '172.30.0.0/16')
      await until('the route is gone', async () => !(await host.ip('route')).includes('172.30.0.0/16'))

      const other = controllers.find(each => each !== used)!
      const isAt = async (there: Controller): Promise<boolean> =>
        (await there.api.sessions()).some(each => each.client === suite && each.controller === there.name)
      await until('it is back', () => isAt(used))
      await used.api.drain()
      // 1 s of waiting, 1 s at the one that drains; by RESTART it would be 6.
      const seconds = await until('it is at the other one', () => isAt(other))
      assert.ok(seconds < 5, `${seconds} s`)
      await used.cli('drain', '--undo')

      const last = client.mark()
      await other.cli('client', 'revoke', suite)
      await client.says(/Authentication failed/, 10, last)
      assert.deepEqual(await other.sessions(), [])
    })
  }
})
