// Clients that can do less, or want something else, than the newest one in its default configuration.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { until } from './lab.ts'
import { OpenvpnClient, writePack } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

interface Kind {
  name: string
  args: string[]
  /** What `sessions` must show. */
  cipher: string
  tls: RegExp
}

const KINDS: Kind[] = [
  { name: 'plain', args: [], cipher: 'AES-256-GCM', tls: /1\.3/ },
  { name: 'tls12', args: ['--tls-version-max', '1.2'], cipher: 'AES-256-GCM', tls: /1\.2/ },
  { name: 'chacha', args: ['--data-ciphers', 'CHACHA20-POLY1305'], cipher: 'CHACHA20-POLY1305', tls: /1\.3/ },
  {
    name: 'chacha-tls12',
    args: ['--data-ciphers', 'CHACHA20-POLY1305', '--tls-version-max', '1.2'],
    cipher: 'CHACHA20-POLY1305',
    tls: /1\.2/,
  },
  { name: 'aes128', args: ['--data-ciphers', 'AES-128-GCM'], cipher: 'AES-128-GCM', tls: /1\.3/ },
]

describe('kinds of stock clients', () => {
  let controller: Controller
  const use = useLab('kinds', async lab => {
    controller = await Controller.start(await lab.host('hub'))
  })

  for (const { name, args, cipher, tls } of KINDS) {
    test(`${name} (${args.join(' ') || 'as packed'}) connects, renegotiates and loses no ping`, async () => {
      const host = await use.lab.host(name)
      const pack = await controller.addClient(name)
      const client = await OpenvpnClient.connect(host, pack, { args: [...args, '--reneg-sec', '4'] })
      const session = (await controller.client(name)).session!
      assert.equal(session.cipher, cipher)
      assert.match(session.tls, tls)
      assert.match(session.version, /2\.6/)
      const ping = await Ping.start(host, '10.77.0.1', { interval: 0.05 })
      await ping.answered()
      // Those before the first ping were none under traffic.
      const before = client.handshakes
      await until('two renegotiations', () => client.handshakes >= before + 2, 20)
      const report = await ping.stop()
      assert.equal(report.lost, 0)
      assert.ok(report.sent > 50)
      assert.equal(client.connections, 1)
      await client.stop()
    })
  }

  test('one without a cipher in common is refused, and its log says so', async () => {
    const host = await use.lab.host('cbc')
    const pack = await controller.addClient('cbc')
    const client = await OpenvpnClient.start(host, pack, { args: ['--data-ciphers', 'AES-256-CBC'] })
    await client.says(/AUTH_FAILED.*cipher/i)
    assert.equal((await controller.client('cbc')).session, null)
    await client.stop()
  })

  test('one with the wrong name for the mesh refuses the controller', async () => {
    const host = await use.lab.host('careful')
    const pack = await controller.addClient('careful')
    const text = readFileSync(pack, 'utf8')
    assert.match(text, /^verify-x509-name /m)
    const other = text.replace(/^verify-x509-name .*$/m, 'verify-x509-name somebody-else name')
    const client = await OpenvpnClient.start(host, writePack(host, 'careful-other.ovpn', other))
    await client.says(/VERIFY X509NAME ERROR/)
    await client.stop()
  })

  test('the same credential twice: the newer connection wins, the older one ends', async () => {
    const pack = await controller.addClient('twin')
    const [first, second] = [await use.lab.host('twin1'), await use.lab.host('twin2')]
    const older = await OpenvpnClient.connect(first, pack)
    const mark = older.mark()
    const newer = await OpenvpnClient.connect(second, pack)
    await until('only the newer session is left', async () => {
      // The older one is back in a few seconds.
      const sessions = (await controller.api.sessions()).filter(session => session.client === 'twin')
      return sessions.length === 1 && sessions[0].remote.startsWith(`${second.ip4}:`)
    })
    await older.says(/Inactivity timeout/, 8, mark)
    await older.stop()
    await newer.stop()
  })
})
