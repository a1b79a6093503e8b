// A machine joins a mesh over libp2p, and what it comes to when something is not as it should be.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { formatToken, type InviteToken, parseToken } from '../../../mesh/admission/token.ts'
import { Clients } from '../../../node/clients.ts'
import { Home } from '../../../node/home.ts'
import { Invites } from '../../../node/invites.ts'
import { joinMesh } from '../../../node/join.ts'
import { verifyChain } from '../../../node/pki/chain.ts'
import { makeStamp } from '../../../state/clock.ts'
import { decodeRecord, encodeRecord, type Incarnation, signRecord } from '../../../state/record.ts'
import { type Inviter, newcomer, startInviter, temporaryDirectory } from './world.ts'

async function withHome<T>(dataDir: string, work: (home: Home) => Promise<T>): Promise<T> {
  const home = await Home.open(dataDir)
  try {
    return await work(home)
  } finally {
    await home.close()
  }
}

/** Nothing is left of a join that failed, and the mesh is as it was. */
async function assertNothing(inviter: Inviter, dataDir: string, controllers = 1): Promise<void> {
  assert.deepEqual(await readdir(dataDir).catch(() => []), [])
  assert.equal(inviter.home.views.controllers().length, controllers)
}

function changed(token: string, change: Partial<InviteToken>): string {
  return formatToken({ ...parseToken(token), ...change })
}

test('a newcomer has all records, a certificate of its own and an address', async t => {
  const inviter = await startInviter(t)
  await new Clients(inviter.home).add({ name: 'web' })
  const said: string[] = []
  const joined = await inviter.join(await inviter.token(), { onProgress: doing => said.push(doing) })
  assert.deepEqual(inviter.joined, ['beta'])
  assert.deepEqual(inviter.refused, [])
  assert.equal(joined.meshName, 'prod')
  assert.equal(joined.meshId, inviter.home.mesh.id)
  assert.equal(joined.gateway, '10.77.0.1')
  assert.deepEqual([joined.subnet6, joined.gateway6], ['fd00:77::/64', 'fd00:77::a4d:1'])
  assert.match(joined.address6 ?? '', /^fd00:77::a4d:/)
  assert.deepEqual(joined.public, ['vpn2.example.net:1195'])
  assert.match(said[0], /dialling 127\.0\.0\.1:\d+/)
  await withHome(joined.dataDir, async home => {
    assert.deepEqual(home.problems, [])
    assert.equal(home.replica.hash(), inviter.home.replica.hash())
    assert.equal(joined.records, home.replica.count)
    assert.deepEqual(home.config, {
      version: 1,
      controller: 'beta',
      controllerId: joined.controllerId,
      listen: ['0.0.0.0:1195'],
      meshListen: '0.0.0.0:4002',
      lifetimes: inviter.home.config.lifetimes,
    })
    assert.deepEqual(home.controller.publicEndpoints, ['vpn2.example.net:1195'])
    assert.deepEqual(home.controller.meshEndpoints, ['vpn2.example.net:4002'])
    assert.equal(home.controller.address, joined.address)
    assert.equal(home.replica.get('lease', joined.address)?.holder, home.id)
    assert.notEqual(joined.address, inviter.home.controller.address)
    assert.deepEqual(home.tlsCryptKey, inviter.home.tlsCryptKey)
    const root = new X509Certificate(home.rootCertificate)
    const server = new X509Certificate(await readFile(home.directory.serverCertificate))
    verifyChain(server, [home.issuingCertificate], root, Date.now(), 'server')
    assert.equal((await stat(home.directory.identityKey)).mode & 0o777, 0o600)
    assert.equal(await home.directory.readIfThere(home.directory.rootKey), undefined)
    // What it issues counts on the other one.
    const client = await new Clients(home).add({ name: 'db' })
    const { replica, views } = inviter.home
    await replica.absorb(home.replica.missingFor(replica.vector())!)
    assert.equal(views.credential(client.value.serial).usable, true)
  })
})

test('thousands of records of several authors, who wrote their own ones last', {
  timeout: 240_000,
}, async t => {
  const inviter = await startInviter(t)
  const second = await inviter.join(await inviter.token(), { controller: 'beta' })
  const many = (prefix: string) =>
    Array.from({ length: 2000 }, (_, i) => ({
      kind: 'setting' as const,
      id: `${prefix}.${i}`,
      value: { value: 'x'.repeat(300) },
    }))
  const { replica } = inviter.home
  await withHome(second.dataDir, async home => {
    for (const [prefix, each] of [
      ['alpha', inviter.home],
      ['beta', home],
    ] as const) {
      await each.replica.write(many(prefix))
      const value = { ...each.controller, publicEndpoints: ['moved.example.net:1194'] }
      await each.replica.write([{ kind: 'controller', id: each.id, value }])
    }
    for (let more = true; more; ) {
      const delta = home.replica.missingFor(replica.vector())!
      await replica.absorb(delta)
      more = delta.more
    }
  })
  const third = await inviter.join(await inviter.token(), { controller: 'gamma' })
  assert.ok(third.records > 4000)
  await withHome(third.dataDir, async home => assert.equal(home.replica.hash(), replica.hash()))
})

test('whoever has the key of a controller keeps nobody out by thousands of its lives', {
  timeout: 240_000,
}, async t => {
  const inviter = await startInviter(t)
  const stolen = await inviter.join(await inviter.token(), { controller: 'beta' })
  const { replica } = inviter.home
  await withHome(stolen.dataDir, async ({ id, identityKey }) => {
    for (let part = 0; part < 41; part++) {
      const records = Array.from({ length: 100 }, (_, n) => {
        const life = `f${(100 * part + n).toString(16).padStart(15, '0')}` as Incarnation
        const setting = { kind: 'setting', id: 'x', value: { value: n }, term: 0 } as const
        const stamp = makeStamp(Date.now(), 100 * part + n)
        const made = { ...setting, stamp, author: id, incarnation: life, sequence: 1 }
        return encodeRecord(signRecord(made, identityKey))
      })
      await replica.receive(records)
    }
  })
  const third = await inviter.join(await inviter.token(), { controller: 'gamma' })
  await withHome(third.dataDir, async home => {
    assert.equal(home.replica.hash(), replica.hash())
    assert.equal(home.replica.get('setting', 'x')?.value, 99)
  })
})

test('a token is good once, also for two at the same time and after a restart', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const directories = [await temporaryDirectory(t), await temporaryDirectory(t)]
  const both = await Promise.allSettled(
    directories.map((dataDir, i) => inviter.join(token, { dataDir, controller: `c${i}` })),
  )
  const failed = both.flatMap(each => (each.status === 'rejected' ? [each.reason.message] : []))
  assert.equal(failed.length, 1)
  assert.match(failed[0], /the token was used already/)
  assert.equal(inviter.home.views.controllers().length, 2)
  assert.equal(
    (await Promise.all(directories.map(each => readdir(each)))).filter(({ length }) => length === 0).length,
    1,
  )

  const dataDir = await temporaryDirectory(t)
  await assert.rejects(inviter.join(token, { dataDir }), { code: 'refused', message: /used already/ })
  await assertNothing(inviter, dataDir, 2)
  const again = await Invites.open(inviter.home.directory)
  assert.equal(await again.take(Buffer.from(parseToken(token).inviteId).toString('hex')), false)
})

test('who joins at the same time as others has an address of its own', async t => {
  const inviter = await startInviter(t)
  const tokens: string[] = []
  for (let i = 0; i < 12; i++) tokens.push(await inviter.token())
  const joined = await Promise.all(tokens.map((each, i) => inviter.join(each, { controller: `c${i}` })))
  const { views, replica } = inviter.home
  assert.equal(new Set(joined.map(({ address }) => address)).size, tokens.length)
  for (const { address, controllerId } of joined)
    assert.equal(replica.get('lease', address)?.holder, controllerId)
  assert.deepEqual(views.conflicts(), [])
  assert.deepEqual(inviter.refused, [])
})

test('a newcomer whose address is leased to another in the meantime chooses again, a few times', async t => {
  const inviter = await startInviter(t)
  const { replica, views } = inviter.home
  const clients = new Clients(inviter.home)
  const { receive } = replica
  const taken: string[] = []
  let most = 2
  t.mock.method(replica, 'receive', async (records: Uint8Array[], check?: () => void) => {
    // Written ahead of the newcomer's records, when they are on their way: by its stamp its own lease came first.
    for (const bytes of records) {
      const decoded = decodeRecord(bytes)
      if (!decoded.ok || decoded.record.kind !== 'lease' || taken.length === most) continue
      taken.push(decoded.record.id)
      void clients.add({ name: `client${taken.length}`, ip: decoded.record.id })
    }
    return receive.call(replica, records, check)
  })
  const joined = await inviter.join(await inviter.token())
  assert.equal(new Set([...taken, joined.address]).size, 3)
  assert.equal(replica.get('lease', joined.address)?.holder, joined.controllerId)
  await withHome(joined.dataDir, async home => assert.equal(home.replica.hash(), replica.hash()))

  most = Number.POSITIVE_INFINITY
  const dataDir = await temporaryDirectory(t)
  await assert.rejects(inviter.join(await inviter.token(), { dataDir, controller: 'gamma' }), {
    code: 'refused',
    message: /10\.77\.\d+\.\d+ was given to another while it joined; join with a new token/,
  })
  await assertNothing(inviter, dataDir, 2)
  assert.deepEqual(views.conflicts(), [])
})

test('a newcomer that nobody could dial, as its address is in the overlay, is refused', async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  for (const endpoint of ['10.77.3.4', '[fd00:77::5]:1195']) {
    await assert.rejects(inviter.join(await inviter.token(), { dataDir, public: [endpoint] }), {
      code: 'invalid',
      message:
        /is in the overlay's own (10\.77\.0\.0\/16|fd00:77::\/64).* with a new token: this one is used up$/,
    })
    await assertNothing(inviter, dataDir)
  }
  assert.deepEqual(inviter.joined, [])
})

test('an expired token is refused by either end', async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  const past = changed(await inviter.token(), { expiresAt: Date.now() - 1000 })
  await assert.rejects(inviter.join(past, { dataDir }), {
    code: 'invalid',
    message: /expired at 20.*new one/,
  })
  const { length } = inviter.refused
  assert.equal(length, 0, 'nobody was dialled')

  const token = await inviter.token(5)
  await inviter.token(600)
  inviter.ahead = 10_000
  await assert.rejects(inviter.join(token, { dataDir }), { code: 'refused', message: /expired at 20/ })
  await assertNothing(inviter, dataDir)
})

test('what is no token is refused before anything is touched', async t => {
  const dataDir = await temporaryDirectory(t)
  for (const token of ['', 'om1-', 'nonsense', 'om2-AAAA']) {
    await assert.rejects(joinMesh(newcomer(dataDir, token)), { code: 'invalid' })
  }
  await assert.rejects(stat(dataDir), { code: 'ENOENT' })
})

test('a token of another mesh, or of another controller, opens nothing', async t => {
  const inviter = await startInviter(t)
  const other = await startInviter(t, 'other')
  const dataDir = await temporaryDirectory(t)
  const elsewhere = changed(await other.token(), { endpoints: [inviter.endpoint] })
  await assert.rejects(inviter.join(elsewhere, { dataDir }), {
    code: 'failed',
    message: new RegExp(`${inviter.endpoint} \\(another controller answers there\\)`),
  })
  // The controller that answers is who it should be, and its mesh is not what the token says.
  for (const change of [{ rootFingerprint: new Uint8Array(32) }, { meshId: 'ab'.repeat(16) }]) {
    const token = changed(await inviter.token(), change)
    await assert.rejects(inviter.join(token, { dataDir }), {
      code: 'refused',
      message: /not of the mesh that the token is for/,
    })
  }
  await assertNothing(inviter, dataDir)
})

test('who does not know the secret is refused, and the invitation stays good', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const dataDir = await temporaryDirectory(t)
  const message = /the token is not good here/
  for (const change of [{ secret: new Uint8Array(32) }, { inviteId: new Uint8Array(8) }]) {
    await assert.rejects(inviter.join(changed(token, change), { dataDir }), { code: 'refused', message })
  }
  assert.equal(inviter.refused.length, 2)
  await assertNothing(inviter, dataDir)
  await inviter.join(token, { dataDir })
})

test('many who do not know the secret keep nobody else out', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const wrong = changed(token, { secret: new Uint8Array(32) })
  for (let round = 0; round < 5; round++) {
    const knocks = Array.from({ length: 8 }, () => inviter.join(wrong))
    for (const each of await Promise.allSettled(knocks)) assert.equal(each.status, 'rejected')
  }
  await inviter.join(token)
})

test('a name is given once, also to two at the same time; the invitation of the other stays good', async t => {
  const inviter = await startInviter(t)
  const dataDir = await temporaryDirectory(t)
  const token = await inviter.token()
  await assert.rejects(inviter.join(token, { dataDir, controller: 'alpha' }), {
    code: 'refused',
    message: /a controller named alpha is in the mesh already; give another with --controller/,
  })
  await assert.rejects(inviter.join(token, { dataDir, controller: 'No Name' }), { code: 'invalid' })
  await assertNothing(inviter, dataDir)

  const tokens = [token, await inviter.token()]
  const both = await Promise.allSettled(tokens.map(each => inviter.join(each, { controller: 'twin' })))
  const failed = both.findIndex(({ status }) => status === 'rejected')
  assert.match((both[failed] as PromiseRejectedResult).reason.message, /twin/)
  assert.equal(both.filter(({ status }) => status === 'fulfilled').length, 1)
  await inviter.join(tokens[failed], { dataDir, controller: 'other' })
  assert.equal(inviter.home.views.controllers().length, 3)
})

test('a directory that holds something stays as it is, and the invitation is not used', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const dataDir = await temporaryDirectory(t)
  await mkdir(dataDir)
  await writeFile(join(dataDir, 'notes.txt'), 'mine')
  await assert.rejects(inviter.join(token, { dataDir }), { code: 'NOT_EMPTY' })
  assert.deepEqual(await readdir(dataDir), ['notes.txt'])
  const joined = await inviter.join(token)
  await assert.rejects(inviter.join(await inviter.token(), { dataDir: joined.dataDir }), {
    code: 'NOT_EMPTY',
    message: /holds a controller already/,
  })
})

test('where the inviter is not reached is said, and the other endpoints are tried', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const dead = ['127.0.0.1:1', 'no-such-host.invalid:4001']
  await inviter.join(changed(token, { endpoints: [...dead, inviter.endpoint] }))

  const late = await inviter.token()
  await inviter.stop()
  const dataDir = await temporaryDirectory(t)
  await assert.rejects(inviter.join(changed(late, { endpoints: [...dead, inviter.endpoint] }), { dataDir }), {
    code: 'failed',
    message: new RegExp(
      `127\\.0\\.0\\.1:1 \\(nothing listens there\\), no-such-host\\.invalid:4001 \\(its name has no address\\), ${inviter.endpoint} \\(nothing listens there\\)`,
    ),
  })
  assert.deepEqual(await readdir(dataDir), [])
})

test('clocks that differ by more than a minute are named, and the invitation stays good', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const dataDir = await temporaryDirectory(t)
  for (const ahead of [90_000, -90_000]) {
    inviter.ahead = ahead
    await assert.rejects(inviter.join(token, { dataDir }), {
      code: 'refused',
      message: /the clocks differ: 20\S+Z there, 20\S+Z here/,
    })
  }
  await assertNothing(inviter, dataDir)
  inviter.ahead = 30_000
  await inviter.join(token, { dataDir })
})

test('without a good root key nobody is admitted, and the invitation stays good', async t => {
  const inviter = await startInviter(t)
  const { directory } = inviter.home
  const token = await inviter.token()
  const dataDir = await temporaryDirectory(t)
  const key = await readFile(directory.rootKey, 'utf8')
  await rm(directory.rootKey)
  await assert.rejects(inviter.join(token, { dataDir }), {
    code: 'refused',
    message: /key of the mesh root is not/,
  })
  for (const bad of ['no key', await readFile(directory.issuingKey, 'utf8')]) {
    await writeFile(directory.rootKey, bad)
    await assert.rejects(inviter.join(token, { dataDir }), {
      code: 'refused',
      message: /cannot admit anyone/,
    })
  }
  await assertNothing(inviter, dataDir)
  await writeFile(directory.rootKey, key)
  await inviter.join(token, { dataDir })
})

test('the door is open as long as somebody is invited', async t => {
  const inviter = await startInviter(t)
  assert.equal(inviter.admission.open(), false)
  const token = await inviter.token(5)
  assert.equal(inviter.admission.open(), true)
  inviter.ahead = 10_000
  assert.equal(inviter.admission.open(), false)
  await assert.rejects(inviter.join(token), { code: 'failed', message: /it lets nobody join now/ })
})
