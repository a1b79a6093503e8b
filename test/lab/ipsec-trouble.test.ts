// Attachments that do not come up, and why; a site behind NAT, one that moves; and where secrets are not.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { AttachmentDetail } from '../../node/service-ipsec.ts'
import type { Controller } from './controller.ts'
import { type Lab, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { PlainStrongSwan } from './plain-strongswan.ts'
import { Site } from './site.ts'
import { useLab } from './suite.ts'

const OVERLAY = '10.77.0.0/16'
const SECRET = 'correct horse battery staple & more'

describe('attachments in trouble', () => {
  let mesh: Mesh
  let near: MeshClient
  let lab: Lab

  useLab('ipsec-trouble', async made => {
    lab = made
    mesh = await Mesh.start(lab, ['alpha', 'beta'])
    near = await mesh.connect('near', ['beta'])
  })

  const secretFile = (name: string, secret: string): string => {
    const file = join(lab.directory, `${name}.psk`)
    writeFileSync(file, secret, { mode: 0o600 })
    return file
  }

  const why = async (name: string, controller: Controller, words: RegExp): Promise<void> => {
    let seen = ''
    try {
      await until(
        `${name}: ${words}`,
        async () => {
          const { problem, state } = await controller.json<AttachmentDetail>('ipsec', 'show', name)
          seen = `${state}: ${problem?.text}`
          return words.test(problem?.text ?? '')
        },
        25,
      )
    } catch (error) {
      throw new Error(`${(error as Error).message}; last seen: ${seen}`)
    }
  }

  test('each fault has its plain words, on the controller that dials and on the other', async () => {
    const [alpha, beta] = mesh.controllers
    const peer = await lab.host('peer')
    const connection = (name: string, lines: string, child: string) => `
      ${name} {
        version = 2
        local_addrs = ${peer.ip4}
        unique = never
        local { auth = psk
          id = ${name} }
        remote { auth = psk
          id = lab }
        ${lines}
        children { net {
          ${child}
          remote_ts = ${OVERLAY}
        } }
      }`
    const router = await PlainStrongSwan.start(peer, {
      configuration: `connections {
        ${connection('wrong', '', 'local_ts = 192.168.41.0/24')}
        ${connection('cipher', '', 'local_ts = 192.168.42.0/24\n esp_proposals = aes128-sha256')}
        ${connection('networks', '', 'local_ts = 192.168.99.0/24')}
      }
      secrets {
        ike-1 { id = wrong
          secret = "another secret" }
        ike-2 { id-1 = cipher
          id-2 = networks
          secret = "${SECRET}" }
        ike-3 { id = lab
          secret = "${SECRET}" }
      }`,
    })
    const file = secretFile('common', SECRET)
    const add = (name: string, remote: string, network: string, ...options: string[]) =>
      alpha.cli(
        ...[
          'ipsec',
          'add',
          name,
          '--remote',
          remote,
          '--psk-file',
          file,
          '--initiate',
          '--controllers',
          'alpha',
        ],
        ...['--local-ts', OVERLAY, '--remote-ts', network, ...options],
      )
    await add(
      'wrong',
      peer.ip4,
      '192.168.41.0/24',
      '--psk-file',
      secretFile('wrong', 'not the same at all here'),
    )
    await add('cipher', peer.ip4, '192.168.42.0/24', '--esp-proposal', 'aes256gcm16-ecp384')
    await add('networks', peer.ip4, '192.168.43.0/24')
    await add('nobody', '192.0.2.250', '192.168.44.0/24')
    for (const controller of [alpha, beta]) {
      await why('wrong', controller, /authentication failed/)
      await why('cipher', controller, /no proposal|proposal/)
      await why('networks', controller, /selectors/)
      await why('nobody', controller, /no answer/)
    }
    const refused = await beta.attempt(['ipsec', 'up', 'wrong'])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /authentication failed/)
    for (const name of ['wrong', 'cipher', 'networks', 'nobody']) await beta.cli('ipsec', 'remove', name)
    await router.stop()
  })

  test('a site behind NAT, and one whose address changes', async () => {
    const site = await Site.create(lab, 'madrid', '192.168.50.0/24')
    await site.attach(mesh.get('alpha'), [OVERLAY], '--remote', 'any')
    const nat = await lab.host('nat')
    await nat.ip(
      'link',
      'add',
      'name',
      'in0',
      'type',
      'veth',
      'peer',
      'name',
      'out0',
      'netns',
      site.router.namespace,
    )
    await nat.ip('address', 'add', '10.9.0.1/24', 'dev', 'in0')
    await nat.ip('link', 'set', 'in0', 'up')
    await nat.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1')
    await nat.exec(
      'nft',
      'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }',
    )
    await nat.exec('nft', 'add rule ip nat post oifname "eth0" masquerade')
    const { router } = site
    await router.ip('link', 'set', 'eth0', 'down')
    await router.ip('address', 'add', '10.9.0.2/24', 'dev', 'out0')
    await router.ip('link', 'set', 'out0', 'up')
    await router.ip('route', 'add', 'default', 'via', '10.9.0.1')
    await site.start(mesh.get('alpha'))
    await site.isUp(mesh.get('beta'))
    await until(
      'the client knows the way',
      async () => (await near.host.exec('ip', 'route')).includes('192.168.50.0/24'),
      20,
    )
    const ping = await Ping.start(near.host, site.address, { interval: 0.1 })
    await ping.answered()
    const shown = await mesh.get('alpha').json<AttachmentDetail>('ipsec', 'show', 'madrid')
    assert.equal(shown.sas[0].nat, true)
    assert.ok(shown.sas[0].remoteHost.startsWith(nat.ip4), shown.sas[0].remoteHost)

    await router.ip('address', 'add', '10.9.0.77/24', 'dev', 'out0')
    await router.ip('address', 'delete', '10.9.0.2/24', 'dev', 'out0')
    await router.ip('address', 'replace', '10.9.0.77/24', 'dev', 'out0')
    await router.ip('route', 'replace', 'default', 'via', '10.9.0.1')
    await ping.answered(20)
    await ping.stop()
    await site.isUp(mesh.get('beta'))
  })

  test('what comes in clear under the address of a site is dropped', async () => {
    const stranger = await lab.host('stranger')
    await stranger.ip('address', 'add', '192.168.50.2/32', 'dev', 'eth0')
    for (const controller of mesh.controllers) {
      await stranger.ip('route', 'replace', OVERLAY, 'via', controller.host.ip4)
      const probe = await stranger.attempt(['ping', '-c', '2', '-W', '1', '-I', '192.168.50.2', near.address])
      assert.notEqual(probe.code, 0, `in clear through ${controller.name}`)
    }
  })

  test('the secret is nowhere in clear', async () => {
    const secret = 'correct horse'
    const own = `a secret of "madrid"`
    for (const controller of mesh.controllers) {
      for (const text of [secret, own]) {
        const files = readdirSync(controller.dataDir, { recursive: true, withFileTypes: true })
        for (const file of files.filter(each => each.isFile())) {
          const bytes = readFileSync(join(file.parentPath, file.name))
          assert.ok(!bytes.includes(text) && !bytes.includes(Buffer.from(text).toString('base64')), file.name)
        }
        assert.ok(!controller.process.output.includes(text))
        for (const args of [
          ['ipsec', 'show', 'madrid'],
          ['ipsec', 'list'],
          ['ipsec', 'export', 'madrid'],
          ['state'],
          ['events'],
        ])
          assert.ok(!(await controller.cli(...args, '--json')).includes(text), args.join(' '))
      }
    }
    const commands = readdirSync('/proc').flatMap(pid => {
      try {
        return /^\d+$/.test(pid) ? [readFileSync(`/proc/${pid}/cmdline`, 'latin1')] : []
      } catch {
        return []
      }
    })
    assert.ok(!commands.some(each => each.includes(secret) || each.includes(own)))
  })
})
