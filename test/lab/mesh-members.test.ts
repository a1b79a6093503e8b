// Who is a controller: tokens that are good and that are not, controllers that are removed or leave, and the mesh root's key moved.
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { useLab } from './suite.ts'

describe('controllers come and go', () => {
  let mesh: Mesh
  let alpha: Controller
  let beta: Controller
  let gamma: Controller
  let ofAlpha: MeshClient
  let ofBeta: MeshClient

  const use = useLab('members', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    ;[alpha, beta, gamma] = mesh.controllers
    ofAlpha = await mesh.connect('of-alpha', ['beta', 'alpha', 'gamma'])
    ofBeta = await mesh.connect('of-beta', ['gamma'], { by: beta })
  })

  /** On its way it is on none. */
  const isElsewhere = async (client: string, than: Controller, asked: Controller): Promise<boolean> => {
    const where = await mesh.whereIs(client, asked)
    return where !== undefined && where !== than.name
  }

  /** What a machine is told that must not come in. */
  const refusal = async (token: string, host: string, name = host): Promise<string> => {
    const newcomer = await use.lab.host(host)
    const message = await Controller.join(newcomer, token, { name }).then(
      () => 'it joined',
      (error: Error) => error.message,
    )
    assert.match(message, /exit [12]\n.*overmesh: /s)
    return message
  }

  test('a token is good once, for its time, and for its mesh; a name is taken once', async () => {
    const used = await alpha.invite()
    const delta = await Controller.join(await use.lab.host('delta'), used)
    assert.equal((await delta.status()).controller.name, 'delta')
    assert.match(await refusal(used, 'second'), /used already/)
    assert.match(await refusal(await alpha.invite(), 'third', 'beta'), /named beta is in the mesh/)
    assert.match(await refusal(used.slice(0, -9), 'cut'), /cut short or mistyped/)
    const brief = await alpha.invite('--ttl', '1s')
    await sleep(1500)
    assert.match(await refusal(brief, 'late'), /expired/)
    const other = await Controller.start(await use.lab.host('other'))
    const foreign = await other.invite()
    await other.process.stop('SIGTERM')
    assert.match(await refusal(foreign, 'lost'), /must run|reach/)
    await alpha.cli('controller', 'remove', 'delta')
  })

  test('who is removed is told, loses its clients, and counts no more', async () => {
    const mark = ofBeta.openvpn.mark()
    const removed = await alpha.json<{ clients: string[] }>('controller', 'remove', 'beta')
    assert.deepEqual(removed.clients, ['of-beta'])
    await until(
      'beta says so',
      async () =>
        (await beta.status()).warnings.some(each => /was removed from the mesh by alpha/.test(each)),
      5,
    )
    await until('its client is elsewhere', () => isElsewhere('of-alpha', beta, alpha), 10)
    await ofAlpha.host.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', '10.77.0.1')
    await ofBeta.openvpn.says(/AUTH_FAILED/, 5, mark)
    for (const asked of [alpha, gamma])
      assert.ok((await asked.status()).controllers.every(({ name }) => name !== 'beta'))
    const gone = await alpha.attempt(['route', 'add', '192.168.5.0/24', '--via', 'controller:beta'])
    assert.match(gone.stderr, /controller beta was removed; see/)
    const refused = await beta.attempt(['client', 'add', 'late'])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /removed/)
    await beta.process.stop('SIGTERM')
    const again = await beta.attempt(['up'], 20_000)
    assert.equal(again.code, 1)
    assert.match(again.stderr, /controller beta was removed from the mesh by alpha/)
  })

  test('its clients get new credentials by one command', async () => {
    const directory = join(use.lab.directory, 'reissued')
    await alpha.cli('client', 'reissue', '--issuer', 'beta', '--out-dir', directory)
    const pack = join(directory, 'of-beta.ovpn')
    assert.ok(
      !readFileSync(pack, 'utf8').includes(`remote ${beta.host.ip4} `),
      'beta is not dialled any more',
    )
    await ofBeta.openvpn.process.ended
    const back = await mesh.connectWith('of-beta', ofBeta.host, pack)
    assert.equal(back.address, ofBeta.address)
  })

  test('the key of the mesh root moves, and with it where controllers are invited', async () => {
    const refused = await gamma.attempt(['invite'])
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /alpha/)
    const passphrase = join(use.lab.directory, 'passphrase')
    writeFileSync(passphrase, 'correct horse battery staple\n', { mode: 0o600 })
    const key = join(use.lab.directory, 'root.pem')
    await alpha.cli('authority', 'export', '--out', key, '--passphrase-file', passphrase)
    rmSync(join(alpha.dataDir, 'authority', 'root.key'))
    await gamma.cli('authority', 'import', key, '--passphrase-file', passphrase)
    assert.equal((await alpha.attempt(['invite'])).code, 1)
    const token = await gamma.invite()
    const epsilon = await Controller.join(await use.lab.host('epsilon'), token)
    await epsilon.up()
    await mesh.whole(20, [alpha, gamma, epsilon])
    mesh.controllers.splice(mesh.controllers.indexOf(beta), 1, epsilon)
  })

  test('who leaves sends its clients away and is gone', async () => {
    const used = await mesh.whereIs('of-alpha')
    const leaving = mesh.get(used === 'alpha' ? 'gamma' : used!)
    await leaving.cli('leave')
    const rest = mesh.controllers.filter(each => each !== leaving)
    await until(
      'the rest know',
      async () => (await rest[0].status()).controllers.every(({ name }) => name !== leaving.name),
      5,
    )
    await until('clients are elsewhere', () => isElsewhere('of-alpha', leaving, rest[0]), 10)
    await leaving.process.stop('SIGTERM')
    await mesh.whole(10, rest)
  })
})
