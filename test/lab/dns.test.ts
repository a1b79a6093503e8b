// Names of the overlay, asked for by stock clients where they are told to ask, while controllers come and go.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { NODE } from './controller.ts'
import type { DnsReply } from './dns-ask.ts'
import type { Host } from './host.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { useLab } from './suite.ts'

const GATEWAY = '10.77.0.1'

async function ask(
  host: Host,
  name: string,
  type = 'A',
  { server = GATEWAY, transport = 'udp' } = {},
): Promise<DnsReply> {
  const argv = [NODE, join(import.meta.dirname, 'dns-ask.ts'), server, name, type, transport]
  const { code, stdout, stderr } = await host.attempt(argv)
  if (code !== 0) throw new Error(`${name}: ${stderr}`)
  return JSON.parse(stdout)
}

describe('DNS of the overlay', () => {
  let mesh: Mesh
  let near: MeshClient
  let far: MeshClient
  let environment: string

  const use = useLab('dns', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'])
    // A third that has no TUN, as without root: its switch answers.
    await mesh.add('gamma', { upArgs: ['--no-tun'] })
    await mesh.whole()
    environment = join(lab.directory, 'near.environment')
    const script = join(lab.directory, 'up.sh')
    writeFileSync(script, `#!/bin/sh\nenv > ${environment}\n`, { mode: 0o755 })
    near = await mesh.connect('near', ['alpha', 'gamma'], {
      args: ['--script-security', '2', '--up', script],
    })
    far = await mesh.connect('far', ['beta', 'alpha'])
  })

  test('stock clients are told where to ask', async () => {
    const told = readFileSync(environment, 'utf8')
    assert.match(told, /^foreign_option_\d+=dhcp-option DNS 10\.77\.0\.1$/m)
    assert.match(told, /^foreign_option_\d+=dhcp-option DOMAIN lab\.internal$/m)
  })

  test('clients on another controller, controllers and addresses have their names, by UDP and by TCP', async () => {
    for (const transport of ['udp', 'tcp']) {
      const answer = await ask(near.host, 'FAR.lab.internal', 'A', { transport })
      assert.deepEqual(answer, {
        rcode: 'NOERROR',
        authoritative: true,
        truncated: false,
        answers: [far.address],
      })
    }
    assert.deepEqual((await ask(far.host, 'near.lab.internal')).answers, [near.address])
    const { controller } = await mesh.get('beta').status()
    assert.deepEqual((await ask(near.host, 'beta.lab.internal')).answers, [controller.address])
    assert.deepEqual((await ask(near.host, 'lab.internal')).answers, [GATEWAY])
    const reverse = `${far.address.split('.').reverse().join('.')}.in-addr.arpa`
    assert.deepEqual((await ask(near.host, reverse, 'PTR')).answers, ['far.lab.internal'])
    // The other controller at its own address, over the backbone.
    const server = controller.address
    assert.deepEqual((await ask(near.host, 'near.lab.internal', 'A', { server })).answers, [near.address])
    const self = await ask(mesh.get('alpha').host, 'far.lab.internal')
    assert.deepEqual(self.answers, [far.address], 'the controller’s own machine is part of the overlay')
  })

  test('what is not there is told so, and what is elsewhere is refused', async () => {
    assert.equal((await ask(near.host, 'nobody.lab.internal')).rcode, 'NXDOMAIN')
    assert.deepEqual(
      [
        (await ask(near.host, 'far.lab.internal', 'AAAA')).rcode,
        (await ask(near.host, 'far.lab.internal', 'AAAA')).answers,
      ],
      ['NOERROR', []],
    )
    assert.equal((await ask(near.host, 'example.net')).rcode, 'REFUSED')
    assert.equal((await ask(near.host, '9.9.9.9.in-addr.arpa', 'PTR')).rcode, 'REFUSED')
  })

  test('a client that is added elsewhere is known within a second, and one that is revoked is gone', async () => {
    await mesh.get('beta').addClient('brief')
    const known = await until(
      'it has a name',
      async () => (await ask(near.host, 'brief.lab.internal')).rcode === 'NOERROR',
      5,
    )
    assert.ok(known < 1.5, `${known} s`)
    await mesh.get('gamma').cli('client', 'revoke', 'brief')
    const gone = await until(
      'it has no name',
      async () => (await ask(near.host, 'brief.lab.internal')).rcode === 'NXDOMAIN',
      5,
    )
    assert.ok(gone < 1.5, `${gone} s`)
  })

  test('nobody outside the overlay is answered', async () => {
    const stranger = await use.lab.host('stranger')
    const { host } = mesh.get('alpha')
    await host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    await stranger.ip('route', 'add', '10.77.0.0/16', 'via', host.ip4)
    for (const transport of ['udp', 'tcp'])
      await assert.rejects(ask(stranger, 'far.lab.internal', 'A', { transport }))
    assert.ok((await mesh.get('alpha').counter(/^dnsForeign$/)) > 0)
  })

  test('other names are asked of the operator’s resolver, long answers by TCP', async () => {
    const host = await use.lab.host('resolver')
    const script = join(import.meta.dirname, 'dns-resolver.ts')
    const resolver = await host.spawn('resolver', [NODE, script, host.ip4])
    await resolver.waitFor(/^ready$/m)
    // The first is silent: nobody is there.
    await mesh.get('beta').cli('dns', 'forward', '192.0.2.250', host.ip4)
    await until(
      'it is asked',
      async () => (await ask(near.host, 'example.net').catch(() => undefined))?.rcode === 'NOERROR',
    )
    assert.deepEqual((await ask(near.host, 'example.net')).answers, ['192.0.2.80'])
    assert.deepEqual((await ask(near.host, 'far.lab.internal')).answers, [far.address])
    assert.equal((await ask(near.host, 'nobody.lab.internal')).rcode, 'NXDOMAIN')
    const cut = await ask(near.host, 'big.example.net')
    assert.deepEqual([cut.truncated, cut.answers], [true, []])
    const whole = await ask(near.host, 'big.example.net', 'A', { transport: 'tcp' })
    assert.equal(whole.answers.length, 100)
    await resolver.stop()
    await mesh.get('alpha').cli('dns', 'forward', '--none')
    await until('it is refused', async () => (await ask(near.host, 'example.net')).rcode === 'REFUSED')
  })

  test('the controller is killed: another answers at the same address, though it has no TUN', async () => {
    const mark = near.openvpn.mark()
    await mesh.get('alpha').process.kill()
    await near.openvpn.connected(20, mark)
    assert.equal(await mesh.whereIs('near', mesh.get('beta')), 'gamma')
    const answer = await until(
      'it answers',
      async () => {
        const reply = await ask(near.host, 'far.lab.internal').catch(() => undefined)
        return reply?.answers[0] === far.address
      },
      5,
    )
    assert.ok(answer < 4, `${answer} s`)
    assert.equal((await ask(near.host, 'nobody.lab.internal')).rcode, 'NXDOMAIN')
    assert.deepEqual((await ask(far.host, 'near.lab.internal')).answers, [near.address])
    assert.doesNotMatch(
      near.openvpn.process.output.slice(mark),
      /Closing TUN|closing tun|device tun0 opened/i,
    )
    assert.deepEqual((await mesh.get('gamma').json<{ serves: string[] }>('dns')).serves, ['udp'])
    await mesh.get('alpha').up()
    await mesh.whole(20)
  })

  test('another program has the port: that is said, and mended once it is gone', async () => {
    const beta = mesh.get('beta')
    const serves = async () => (await beta.json<{ serves: string[] }>('dns')).serves
    assert.deepEqual(await serves(), ['udp', 'tcp'])
    await beta.process.stop()
    const script = join(import.meta.dirname, 'dns-resolver.ts')
    const other = await beta.host.spawn('other', [NODE, script, '0.0.0.0'])
    await other.waitFor(/^ready$/m)
    await beta.up()
    assert.deepEqual(await serves(), [])
    assert.match(
      (await beta.status()).warnings.join(),
      /no DNS for clients here: another program has port 53/,
    )
    await other.stop()
    await until('it serves', async () => (await serves()).length === 2, 15)
    assert.doesNotMatch((await beta.status()).warnings.join(), /DNS/)
  })

  test('off: clients are told nothing more, and nothing is answered', async () => {
    await mesh.get('alpha').cli('dns', 'off')
    await until('nobody answers', async () => {
      const replies = await Promise.allSettled([ask(far.host, 'near.lab.internal')])
      return replies.every(each => each.status === 'rejected' || each.value.rcode === 'REFUSED')
    })
    const late = await mesh.connect('late', ['alpha'], { verbosity: 4 })
    assert.doesNotMatch(late.openvpn.process.output, /dhcp-option/)
    await mesh.get('alpha').cli('dns', 'on')
    await until(
      'it answers',
      async () => (await ask(late.host, 'near.lab.internal').catch(() => undefined))?.rcode === 'NOERROR',
    )
  })
})
