// The API over TCP of controllers that run: off at first, switched on and off, kept, and tokens that count on each of them.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { RemoteController } from '../../../node/api/remote.ts'
import { Controller, type ControllerOptions } from '../../../node/controller.ts'
import { joinMesh } from '../../../node/join.ts'
import { newMesh, temporaryDirectory, withService } from '../controller/home.ts'
import { ownPort } from '../own-ports.ts'
import { Stopwatch } from '../stopwatch.ts'

async function up(t: TestContext, dataDir: string, options: Partial<ControllerOptions> = {}) {
  const logger = pino({ level: 'silent' })
  const controller = await Controller.open({ dataDir, logger, tun: false, ...options })
  t.after(() => controller.stop())
  await controller.start()
  return controller
}

async function remote({ service }: Controller, token: string): Promise<RemoteController> {
  const { listening, rootCertificate } = await service.api()
  return new RemoteController({ url: new URL(`https://${listening[0]}`), token, ca: rootCertificate })
}

test('nothing listens until it is enabled; that is kept, and ends when it is disabled, also through itself', async t => {
  const dataDir = await newMesh(t)
  const first = await up(t, dataDir)
  const off = await first.service.api()
  assert.deepEqual([off.listen, off.listening, off.certificate], [[], [], null])
  assert.deepEqual((await first.service.status()).controller.api, [])
  for (const listen of [
    ['localhost:8443'],
    ['127.0.0.1'],
    ['127.0.0.1:99999'],
    ['127.0.0.1:1', '127.0.0.1:1'],
  ]) {
    await assert.rejects(first.service.changeApi({ listen }), { code: 'invalid' })
  }
  for (const [name, message] of [
    ['a b', /neither an address nor a host name/],
    ['host:80', /"host:80" has a port/],
    ['[::1]:80', /has a port/],
    ['-x', /neither an address nor a host name/],
    ['1.2.3', /not an IPv4 address/],
    ['', /a name for the certificate is empty/],
  ] as const) {
    await assert.rejects(first.service.changeApi({ names: [name] }), { code: 'invalid', message })
  }
  const config = () => readFile(join(dataDir, 'config.json'), 'utf8').then(JSON.parse)
  assert.equal((await config()).api, undefined)
  await first.service.changeApi({ listen: ['127.0.0.1:0'], names: ['API.example.org', '2001:DB8::1'] })
  const { secret } = await first.service.addToken({ name: 'ops', scope: 'admin' })
  const over = await remote(first, secret)
  assert.equal((await over.status()).controller.api.length, 1)
  assert.deepEqual((await config()).api, {
    listen: ['127.0.0.1:0'],
    names: ['api.example.org', '2001:db8::1'],
  })
  await first.stop()

  const second = await up(t, dataDir)
  const again = await remote(second, secret)
  assert.equal((await again.status()).mesh.name, 'prod')
  const ended = await again.changeApi({ listen: [] })
  assert.deepEqual([ended.listen, ended.listening], [[], []])
  await assert.rejects(again.status(), /nothing listens there/)
  assert.deepEqual((await config()).api.listen, [])
  const types = (await second.service.events()).map(({ type }) => type)
  assert.equal(types.filter(type => type === 'api-changed').length, 2)
  assert.ok(types.includes('token-added'))
  await second.stop()

  await withService(dataDir, service => service.changeApi({ listen: ['127.0.0.1:0'] }))
  const third = await up(t, dataDir)
  assert.equal((await third.service.api()).listening.length, 1)
  await third.stop()
  const fourth = await up(t, dataDir, { apiListen: [] })
  assert.deepEqual((await fourth.service.api()).listening, [])
  await fourth.stop()
  const busy = Controller.open({
    dataDir,
    logger: pino({ level: 'silent' }),
    tun: false,
    apiListen: ['203.0.113.1:1'],
  })
  const fifth = await busy
  t.after(() => fifth.stop())
  await assert.rejects(fifth.start(), /cannot listen on 203\.0\.113\.1:1: this machine has no such address/)
})

test('init keeps where it is to listen; what it was and cannot be any more does not keep clients out', async t => {
  const dataDir = await newMesh(t, { apiListen: ['203.0.113.1:8443'] })
  const controller = await up(t, dataDir)
  const status = await controller.service.status()
  assert.ok(status.warnings.some(warning => /API cannot listen on 203\.0\.113\.1:8443/.test(warning)))
  assert.deepEqual((await controller.service.api()).listen, ['203.0.113.1:8443'])
  await controller.service.changeApi({ listen: ['127.0.0.1:0'] })
  assert.ok(!(await controller.service.status()).warnings.some(warning => /API/.test(warning)))
})

test('a token of one controller is good on the others, until any of them revokes it or its maker is removed', async t => {
  const where = async () => {
    const [udp, tcp] = [await ownPort(), await ownPort()]
    return {
      public: [],
      listen: [`127.0.0.1:${udp}`],
      meshListen: `127.0.0.1:${tcp}`,
      apiListen: ['127.0.0.1:0'],
    }
  }
  const alpha = await up(t, await newMesh(t, await where()))
  const directory = await temporaryDirectory(t)
  await joinMesh({
    dataDir: directory,
    token: await inviteTo(alpha),
    controller: 'beta',
    ...(await where()),
  })
  const beta = await up(t, directory)
  const until = async (isSo: () => Promise<boolean>) => {
    while (!(await isSo())) await new Promise(resolve => setTimeout(resolve, 20))
  }
  const stateOn = async ({ service }: Controller, name: string) =>
    (await service.tokens()).find(token => token.name === name)?.state
  const { secret } = await alpha.service.addToken({ name: 'ci', scope: 'read' })
  const made = await beta.service.addToken({ name: 'beta-made', scope: 'admin' })
  await until(
    async () => (await stateOn(beta, 'ci')) === 'good' && (await stateOn(alpha, 'beta-made')) === 'good',
  )
  const onBeta = await remote(beta, secret)
  assert.equal((await onBeta.status()).controller.name, 'beta')
  const follow = () => onBeta.feed(() => {}, { signal: new AbortController().signal })
  const ended = assert.rejects(follow(), { message: 'the token was revoked' })
  await onBeta.dns()
  const watch = new Stopwatch()
  await alpha.service.revokeToken('ci')
  await ended
  assert.ok(watch.own < 3000, `${watch.elapsed} ms, of which ${watch.waited} waited`)
  await assert.rejects(onBeta.status(), { code: 'unauthenticated' })

  const onAlpha = await remote(alpha, made.secret)
  assert.equal((await onAlpha.status()).controller.name, 'alpha')
  const cut = assert.rejects(
    onAlpha.feed(() => {}, { signal: new AbortController().signal }),
    /its maker|the controller that made it was taken out/,
  )
  await onAlpha.dns()
  await alpha.service.removeController('beta')
  await cut
  await assert.rejects(onAlpha.status(), { code: 'unauthenticated', message: /taken out of the mesh/ })
  assert.equal(await stateOn(alpha, 'beta-made'), 'void')
})

async function inviteTo({ service }: Controller): Promise<string> {
  return (await service.invite(600)).token
}
