// Who is a controller of the mesh: controllers that run in this process, without a TUN.
import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import { joinMesh } from '../../../node/join.ts'
import { formatPrivateKey, newPrivateKey } from '../../../node/pki/keys.ts'
import type { ControllerService } from '../../../node/service.ts'
import { ownPort } from '../own-ports.ts'
import { Stopwatch } from '../stopwatch.ts'
import { newMesh, temporaryDirectory, withService } from './home.ts'

interface Running {
  dataDir: string
  service: ControllerService
  stop(): Promise<void>
}

async function up(t: TestContext, dataDir: string): Promise<Running> {
  const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  await controller.start()
  t.after(() => controller.stop())
  return { dataDir, service: controller.service, stop: () => controller.stop() }
}

async function join_(t: TestContext, inviter: Running, controller: string): Promise<Running> {
  const dataDir = await temporaryDirectory(t)
  const { token } = await inviter.service.invite()
  await joinMesh({
    dataDir,
    token,
    controller,
    public: ['vpn2.example.net'],
    listen: ['127.0.0.1:0'],
    meshListen: `127.0.0.1:${await ownPort()}`,
  })
  return up(t, dataDir)
}

async function until(what: string, holds: () => Promise<boolean>, ms = 15_000): Promise<void> {
  const watch = new Stopwatch()
  while (!(await holds())) {
    assert.ok(watch.elapsed < ms || watch.own < ms, `not within ${ms} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** A mesh of running controllers that are all connected: the founder alpha, then those named. */
async function mesh<Names extends string[]>(t: TestContext, ...names: Names) {
  const alpha = await up(t, await newMesh(t))
  const all = [alpha]
  for (const name of names) all.push(await join_(t, alpha, name))
  await until('all are connected and equal', async () => {
    const seen = await Promise.all(all.map(({ service }) => service.status()))
    return seen.every(
      ({ controllers, stateHash }) =>
        controllers.length === all.length &&
        controllers.every(({ connected }) => connected) &&
        stateHash === seen[0].stateHash,
    )
  })
  return all
}

test('nobody is invited by a damaged key of the mesh root, nor by another one', async t => {
  const alpha = await up(t, await newMesh(t))
  const path = join(alpha.dataDir, 'authority', 'root.key')
  const good = await readFile(path)
  for (const bad of ['', 'no key', formatPrivateKey(newPrivateKey())]) {
    await writeFile(path, bad)
    await assert.rejects(alpha.service.invite(), { code: 'refused', message: /root\.key .*authority import/ })
  }
  await writeFile(path, good)
  assert.ok((await alpha.service.invite()).token)
})

test('two who joined see each other, and what one writes is stored on all', { timeout: 240_000 }, async t => {
  const [alpha, beta, gamma] = await mesh(t, 'beta', 'gamma')
  const entries = await gamma.service.controllers()
  assert.deepEqual(entries.map(({ name }) => name).sort(), ['alpha', 'beta', 'gamma'])
  for (const { up: isUp, mesh: endpoints, removedAt } of entries) {
    assert.equal(isUp, true)
    assert.equal(endpoints.length, 1)
    assert.equal(removedAt, null)
  }
  assert.equal(new Set(entries.map(({ address }) => address)).size, 3)
  await until('who has the root key is known', async () => {
    const holders = (await beta.service.controllers()).filter(({ holdsRootKey }) => holdsRootKey)
    return holders.length === 1 && holders[0].name === 'alpha'
  })
  const { client } = await beta.service.addClient({ name: 'web' })
  assert.deepEqual(client.storedOn, { controllers: 3, of: 3 })
  assert.equal((await alpha.service.client('web')).issuer, 'beta')
  const events = (await alpha.service.events()).map(({ type }) => type)
  assert.equal(events.filter(type => type === 'controller-invited').length, 2)
  assert.equal(events.filter(type => type === 'controller-joined').length, 2)

  // Only where the root key is can anyone be invited, and it is said where that is.
  await assert.rejects(beta.service.invite(), {
    code: 'refused',
    message: /root.*not here.*alpha.*overmesh authority import/,
  })
})

test('a removed controller is out at once, for good, and its clients get new credentials', {
  timeout: 240_000,
}, async t => {
  const [alpha, beta, gamma] = await mesh(t, 'beta', 'gamma')
  for (const name of ['web', 'db']) await beta.service.addClient({ name })
  await beta.service.addClient({ name: 'gone' })
  await beta.service.revokeClient('gone')
  await alpha.service.addClient({ name: 'own' })
  await until('gamma has all', async () => (await gamma.service.clients()).length === 4)

  await assert.rejects(gamma.service.removeController('gamma'), {
    code: 'refused',
    message: /overmesh leave/,
  })
  await assert.rejects(gamma.service.removeController('nobody'), {
    code: 'not-found',
    message: /no controller is named nobody/,
  })
  const removal = await gamma.service.removeController('beta')
  assert.equal(removal.controller, 'beta')
  assert.deepEqual(removal.clients, ['db', 'web'])
  // How many have it by then is a matter of time; the one that was removed is not asked.
  assert.equal(removal.storedOn?.of, 2)
  await until('alpha knows', async () =>
    (await alpha.service.status()).controllers.every(({ name }) => name !== 'beta'),
  )
  await assert.rejects(alpha.service.removeController('beta'), {
    code: 'not-found',
    message: /removed already/,
  })

  await until('beta knows', async () =>
    (await beta.service.status()).warnings.some(text => /removed .* by gamma/.test(text)),
  )
  await assert.rejects(beta.service.addClient({ name: 'late' }), { code: 'refused' })
  const [gone] = (await alpha.service.controllers(true)).filter(({ name }) => name === 'beta')
  assert.equal(gone.removedBy, 'gamma')
  assert.equal(gone.up, false)
  assert.deepEqual((await alpha.service.controllers()).map(({ name }) => name).sort(), ['alpha', 'gamma'])

  // It does not come back, not even after a restart.
  await beta.stop()
  await assert.rejects(
    Controller.open({ dataDir: beta.dataDir, logger: pino({ level: 'silent' }), tun: false }),
    {
      message: /removed from the mesh by gamma/,
    },
  )
  for (const name of removal.clients) {
    const { client } = await alpha.service.rekeyClient(name)
    assert.equal(client.issuer, 'alpha')
  }
  assert.deepEqual(
    (await alpha.service.clients()).filter(each => each.issuer === 'beta' && !each.revoked),
    [],
  )
  // Its name is free, its address is not taken by anyone else.
  const again = await join_(t, alpha, 'beta')
  assert.notEqual((await again.service.status()).controller.address, gone.address)
})

test('two halves that removed each other’s controllers stay apart, and how to end that is said', {
  timeout: 240_000,
}, async t => {
  const [alpha, beta, gamma] = await mesh(t, 'beta', 'gamma')
  const names = async ({ service }: Running) => (await service.controllers()).map(({ name }) => name).sort()
  await Promise.all([beta.stop(), gamma.stop()])
  await alpha.service.removeController('beta')
  await alpha.stop()
  const [secondBeta, secondGamma] = await Promise.all([up(t, beta.dataDir), up(t, gamma.dataDir)])
  await until('the other half is one', async () => {
    const { controllers } = await secondGamma.service.status()
    return controllers.some(({ name, connected, self }) => name === 'beta' && connected && !self)
  })
  await secondBeta.service.removeController('alpha')
  await until('gamma knows', async () => (await names(secondGamma)).join() === 'beta,gamma')
  await secondBeta.stop()

  const again = await up(t, alpha.dataDir)
  const said = async () =>
    (await again.service.status()).warnings.filter(text => /^controller gamma cannot be talked to/.test(text))
  await until('alpha says so', async () => (await said()).length > 0)
  assert.match(
    (await said())[0],
    /takes this one for removed, by beta at 20\S+Z, while here beta was removed before that, at 20\S+Z; .*`overmesh controller remove gamma` here/,
  )
  // A removed controller says when it wrote something, and could say any time: it is not heard.
  assert.deepEqual(await names(secondGamma), ['beta', 'gamma'])
  assert.deepEqual(await names(again), ['alpha', 'gamma'])
  await again.service.removeController('gamma')
  assert.deepEqual(await said(), [])
})

test('a founder whose disk is set back to before anyone joined is found by the others', {
  timeout: 240_000,
}, async t => {
  const dataDir = await newMesh(t, { meshListen: `127.0.0.1:${await ownPort()}` })
  const first = await up(t, dataDir)
  await first.stop()
  const backup = await temporaryDirectory(t)
  await cp(dataDir, backup, { recursive: true })
  const again = await up(t, dataDir)
  const beta = await join_(t, again, 'beta')
  const gamma = await join_(t, again, 'gamma')
  await beta.service.addClient({ name: 'web' })
  await again.stop()
  await rm(dataDir, { recursive: true })
  await cp(backup, dataDir, { recursive: true })
  const alpha = await up(t, dataDir)
  await until('all know each other', async () => {
    const { controllers } = await alpha.service.status()
    return controllers.length === 3 && controllers.every(({ connected }) => connected)
  })
  await until('the records are back', async () => {
    const seen = await Promise.all([alpha, beta, gamma].map(({ service }) => service.status()))
    return seen.every(({ stateHash }) => stateHash === seen[0].stateHash)
  })
  assert.deepEqual((await alpha.service.client('web')).name, 'web')
  const { client } = await alpha.service.addClient({ name: 'db' })
  assert.deepEqual(client.storedOn, { controllers: 3, of: 3 })
})

test('one that leaves is out everywhere and says so; the last one stays', { timeout: 240_000 }, async t => {
  const [alpha, beta] = await mesh(t, 'beta')
  await beta.service.addClient({ name: 'web' })
  const { controller, clients, storedOn } = await beta.service.leave()
  assert.deepEqual({ controller, clients }, { controller: 'beta', clients: ['web'] })
  assert.deepEqual(storedOn, { controllers: 1, of: 1 }, 'alpha has it')
  assert.deepEqual(
    (await alpha.service.controllers()).map(({ name }) => name),
    ['alpha'],
  )
  for (const again of [() => beta.service.leave(), () => beta.service.invite()]) {
    await assert.rejects(again, { code: 'refused', message: /beta left the mesh at/ })
  }
  await beta.stop()
  await withService(beta.dataDir, async service => {
    assert.ok((await service.status()).warnings.some(text => /beta left the mesh at/.test(text)))
  })
  await assert.rejects(alpha.service.leave(), { code: 'refused', message: /the only controller of the mesh/ })
})

test('offline: inviting needs a place to be dialled and the root key; leaving needs a running controller', async t => {
  const dataDir = await newMesh(t, { meshListen: '0.0.0.0:4001' })
  await withService(dataDir, async service => {
    const { token, endpoints, expiresAt } = await service.invite(60)
    assert.match(token, /^om1-/)
    assert.deepEqual(endpoints, ['vpn.example.net:4001'])
    assert.ok(Date.parse(expiresAt) > Date.now())
    await assert.rejects(service.leave(), { code: 'not-running' })
    await assert.rejects(service.removeController('alpha'), { code: 'refused' })
    await rm(join(dataDir, 'authority', 'root.key'))
    await assert.rejects(service.invite(60), { code: 'refused', message: /overmesh authority import/ })
  })
  const unknown = await newMesh(t)
  await withService(unknown, async service => {
    await assert.rejects(service.invite(), { code: 'refused', message: /has not run yet/ })
  })
})
