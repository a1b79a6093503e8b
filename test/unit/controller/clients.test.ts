// What the operator does to clients, on the data directory alone.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { copyFile, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Home } from '../../../node/home.ts'
import type { DesiredState } from '../../../node/service-desired.ts'
import { parseSerial } from '../../../state/kinds.ts'
import { newMesh, withService } from './home.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8')
const certificateOf = (pack: { content: Uint8Array }) =>
  new X509Certificate(/<cert>\n([\s\S]*?-----END CERTIFICATE-----)/.exec(text(pack.content))![1])

test('a client gets the next free address, a certificate for it and a pack that says so', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const first = await service.addClient({ name: 'web', tags: { role: 'front' } })
    const second = await service.addClient({ name: 'db', subnets: ['192.168.5.0/24'], days: 10 })
    assert.notEqual(first.client.address, second.client.address)
    const certificate = certificateOf(first)
    assert.equal(certificate.subject.split('\n').at(-1), 'CN=web')
    assert.ok(certificate.subjectAltName?.includes(`IP Address:${first.client.address}`))
    assert.equal(parseSerial(certificate.serialNumber), first.client.serial)
    assert.match(text(first.content), /\nremote vpn\.example\.net 1194/)
    assert.deepEqual(first.client.tags, { role: 'front' })
    assert.deepEqual(second.client.subnets, ['192.168.5.0/24'])
    const days = (Date.parse(second.client.expiresAt) - Date.now()) / 86_400_000
    assert.ok(days > 9.9 && days < 10.1, `${days} days`)
  })
})

test('fifty clients added at once get fifty addresses', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const names = Array.from({ length: 50 }, (_, i) => `host-${i}`)
    const packs = await Promise.all(names.map(name => service.addClient({ name })))
    assert.equal(new Set(packs.map(({ client }) => client.address)).size, 50)
    assert.deepEqual((await service.status()).conflicts, [])
  })
})

test('of two that ask for one address or name at once, one is refused and leaves nothing behind', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const settled = await Promise.allSettled([
      service.addClient({ name: 'a', ip: '10.77.0.77' }),
      service.addClient({ name: 'b', ip: '10.77.0.77' }),
      service.addClient({ name: 'c' }),
      service.addClient({ name: 'c' }),
    ])
    const refused = settled.filter(result => result.status === 'rejected')
    assert.deepEqual(
      refused.map(({ reason }) => reason.code),
      ['exists', 'exists'],
    )
    assert.equal((await service.clients()).length, 2)
    assert.equal((await readdir(join(dataDir, 'clients'))).length, 2)
  })
})

for (const name of ['a.', 'a..b', 'a.b.']) {
  test(`the name ${name}, which DNS cannot carry, is refused for a new client, and serves those that have it`, async t => {
    const dataDir = await newMesh(t)
    const old = await withService(dataDir, async service => {
      await assert.rejects(service.addClient({ name }), {
        code: 'invalid',
        message: /DNS can carry; write no dot/,
      })
      return (await service.addClient({ name: 'old' })).client
    })
    const home = await Home.open(dataDir)
    for (const { id, value } of [...home.replica.all('client')])
      await home.replica.write([{ kind: 'client', id, value: { ...value, name } }])
    await home.close()
    await withService(dataDir, async service => {
      assert.equal((await service.client(name)).serial, old.serial)
      assert.equal((await service.packClient(name, 'ovpn')).fileName, `${name}.ovpn`)
      assert.notEqual((await service.rekeyClient(name)).client.serial, old.serial)
      assert.equal((await service.disableClient(name)).enabled, false)
      const desired = await service.desiredState()
      assert.deepEqual((await service.reconcile({ desired, prune: true })).changes, [])
      assert.equal((await service.verify()).ok, true)
      assert.equal((await service.revokeClient(name)).revoked, true)
    })
  })
}

for (const [what, ip, code] of [
  ['outside the subnet', '10.78.0.1', 'invalid'],
  ['the network', '10.77.0.0', 'invalid'],
  ['the broadcast address', '10.77.0.255', 'invalid'],
  ['the gateway', '10.77.0.1', 'invalid'],
  ['nonsense', '10.77.0', 'invalid'],
] as const) {
  test(`--ip ${what} is refused`, async t => {
    const dataDir = await newMesh(t)
    await withService(dataDir, async service => {
      await assert.rejects(service.addClient({ name: 'web', ip }), { code })
      assert.deepEqual(await service.clients(), [])
    })
  })
}

for (const subnet of ['192.168.5.1/24', '10.77.0.0/16', '10.77.0.128/25', '0.0.0.0/0', 'banana']) {
  test(`--subnet ${subnet} is refused`, async t => {
    const dataDir = await newMesh(t)
    await withService(dataDir, async service => {
      await assert.rejects(service.addClient({ name: 'web', subnets: [subnet] }), { code: 'invalid' })
    })
  })
}

test('a full subnet says so', async t => {
  const dataDir = await newMesh(t, { subnet: '10.77.0.0/30' })
  await withService(dataDir, async service => {
    await assert.rejects(service.addClient({ name: 'web' }), { code: 'refused', message: /full/ })
  })
})

test('what a crash left of keys is put right by the records when the controller is opened', async t => {
  const dataDir = await newMesh(t)
  const serials: string[] = []
  await withService(dataDir, async service => {
    for (const name of ['kept', 'late', 'gone'])
      serials.push((await service.addClient({ name })).client.serial)
    await service.revokeClient('gone')
  })
  const [kept, late, gone] = serials
  const at = (...path: string[]) => join(dataDir, ...path)
  // Killed before its key was moved, before its record was written, before its key was removed, and within a file.
  await rename(at('clients', `${late}.json`), at('arriving', `${late}.json`))
  await copyFile(at('clients', `${kept}.json`), at('arriving', `${kept.replace(/.$/, '0')}.json`))
  await copyFile(at('clients', `${kept}.json`), at('clients', `${gone}.json`))
  for (const path of ['config.json.ba9876543210.tmp', `clients/${kept}.json.0123456789ab.tmp`])
    await copyFile(at('config.json'), at(path))
  await withService(dataDir, async service => {
    assert.deepEqual((await readdir(at('clients'))).sort(), [`${kept}.json`, `${late}.json`].sort())
    assert.deepEqual(await readdir(at('arriving')), [])
    assert.deepEqual(
      (await readdir(dataDir)).filter(name => name.endsWith('.tmp')),
      [],
    )
    assert.match(text((await service.packClient('late', 'ovpn')).content), /PRIVATE KEY/)
  })
})

test('rekey keeps the address, supersedes the certificate and forgets the old key', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const before = await service.addClient({ name: 'web' })
    const after = await service.rekeyClient('web')
    assert.equal(after.client.address, before.client.address)
    assert.notEqual(after.client.serial, before.client.serial)
    assert.deepEqual(await readdir(join(dataDir, 'clients')), [`${after.client.serial}.json`])
    assert.equal(text((await service.packClient('web', 'ovpn')).content), text(after.content))
  })
})

test('revoke is for good: listed, no pack, no rekey; name and address are free again', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const { client } = await service.addClient({ name: 'web' })
    assert.equal((await service.revokeClient('web', 'laptop stolen')).revoked, true)
    assert.equal((await service.revokeClient('web')).revoked, true)
    assert.deepEqual((await service.status()).conflicts, [])
    await assert.rejects(service.packClient('web', 'ovpn'), { code: 'refused', message: /revoked/ })
    await assert.rejects(service.rekeyClient('web'), { code: 'refused', message: /revoked/ })
    await assert.rejects(service.enableClient('web'), { code: 'refused', message: /revoked/ })
    const other = await service.addClient({ name: 'other', ip: client.address })
    assert.equal(other.client.address, client.address)
    const again = await service.addClient({ name: 'web' })
    assert.equal(again.client.revoked, false)
    assert.notEqual(again.client.serial, client.serial)
    const records = await service.records('revocation')
    assert.deepEqual(
      records.map(({ id }) => id),
      [client.serial],
    )
  })
})

test('a name that a living client has is not given away, however that client is shown', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    for (const name of ['web', 'spare', 'old']) await service.addClient({ name })
    await service.revokeClient('old')
  })
  // As after halves of the mesh had each given the name.
  const home = await Home.open(dataDir)
  for (const name of ['spare', 'old']) {
    const { id, value } = home.views.clientByName(name)!
    const createdAt = value.createdAt + 1000
    await home.replica.write([{ kind: 'client', id, value: { ...value, name: 'web', createdAt } }])
  }
  await home.close()
  await withService(dataDir, async service => {
    await service.revokeClient('web')
    const [second] = (await service.clients()).filter(({ revoked }) => !revoked)
    assert.match(second.name, /^web~/)
    const refused = { code: 'exists', message: new RegExp(`overmesh client revoke ${second.name}`) }
    await assert.rejects(service.addClient({ name: 'web' }), refused)
    const desired: DesiredState = { version: 1, mesh: 'prod', clients: { web: {} } }
    const { problems } = await service.reconcile({ desired })
    assert.deepEqual(
      problems.map(({ path }) => path.join('.')),
      ['clients.web'],
    )
    assert.match(problems[0].message, refused.message)
    assert.equal((await service.client(second.name)).serial, second.serial)
    assert.equal((await service.reconcile({ desired, prune: true, dryRun: true })).problems.length, 0)
    await service.revokeClient(second.name)
    const { client } = await service.addClient({ name: 'web' })
    assert.equal(client.name, 'web')
    assert.deepEqual(
      (await service.clients()).map(({ serial }) => serial),
      [client.serial],
    )
    assert.deepEqual((await service.status()).conflicts, [])
  })
})

test('disable and enable are remembered', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, service => service.addClient({ name: 'web' }))
  await withService(dataDir, service => service.disableClient('web'))
  assert.equal((await withService(dataDir, service => service.client('web'))).enabled, false)
  await withService(dataDir, service => service.enableClient('web'))
  assert.equal((await withService(dataDir, service => service.client('web'))).enabled, true)
})

test('no secret is in the records, the events or an answer other than the pack', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addClient({ name: 'web' })
    const said = JSON.stringify([
      await service.status(),
      await service.records(),
      await service.events(),
      await service.clients(),
    ])
    assert.doesNotMatch(said, /PRIVATE KEY|tls-crypt-v2 client key/)
    assert.doesNotMatch(await readFile(join(dataDir, 'events.jsonl'), 'utf8'), /PRIVATE KEY/)
  })
})

test('an unknown client is named', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    for (const ask of [
      () => service.client('nobody'),
      () => service.packClient('nobody', 'ovpn'),
      () => service.revokeClient('nobody'),
      () => service.rekeyClient('nobody'),
      () => service.disableClient('nobody'),
      () => service.kickClient('nobody'),
    ]) {
      await assert.rejects(ask, { code: 'not-found', message: /nobody/ })
    }
  })
})
