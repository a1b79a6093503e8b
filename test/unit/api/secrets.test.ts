// What a controller that has every kind of secret tells of them: by any answer that is no key itself, metric, event or log.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import type { TokenScope } from '../../../node/service-tokens.ts'
import { parseToken } from '../../../node/token-text.ts'
import { newMesh } from '../controller/home.ts'

const PSK = 'pre-shared of the site in paris'
const HOOK = 'B0123hooks'
const HOOK_SECRET = 'what signs the requests to the hook'
const PASSPHRASE = 'passphrase of the backup'

/** Of each private key on the disk, and what else is secret there, something that nothing else can hold. */
function secretsIn(dataDir: string): [what: string, secret: string][] {
  const found: [string, string][] = []
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(key|json)$/.test(entry.name) || entry.name === 'config.json') continue
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8').replaceAll('\\n', '\n')
    for (const [, type, body] of text.matchAll(/-----BEGIN (.+?)-----\n([^-]+)-----END/g))
      if (!type.includes('CERTIFICATE')) found.push([`${entry.name}: ${type}`, body.trim().split('\n')[0]])
  }
  return found
}

async function up(t: TestContext, log: string[]) {
  const dataDir = await newMesh(t, { apiListen: ['127.0.0.1:0'] })
  const logger = pino({ level: 'trace' }, { write: line => void log.push(line) })
  const controller = await Controller.open({ dataDir, logger, tun: false })
  t.after(() => controller.stop())
  await controller.start()
  return { dataDir, service: controller.service }
}

test('nobody is told a secret but by what is for handing out keys', async t => {
  const log: string[] = []
  const { dataDir, service } = await up(t, log)
  const tokens = new Map<TokenScope, string>()
  for (const scope of ['read', 'operate', 'admin'] as const)
    tokens.set(scope, (await service.addToken({ name: scope, scope })).secret)
  await service.addClient({ name: 'web', subnets: ['192.168.5.0/24'] })
  await service.addClient({ name: 'lost' })
  await service.rekeyClient('lost')
  await service.addAttachment({
    ...{ name: 'paris', remote: 'any', secret: Buffer.from(PSK).toString('base64') },
    ...{ remoteSubnets: ['192.168.20.0/24'], localSubnets: ['10.77.0.0/24'] },
  })
  // Nobody answers there, which is told.
  await service.addWebhook({
    name: 'hook',
    url: `http://127.0.0.1:9/services/${HOOK}/x`,
    secret: HOOK_SECRET,
  })
  assert.equal((await service.testWebhook('hook')).delivered, false)
  for await (const _ of await service.backup(PASSPHRASE));
  const { token: invitation } = await service.invite(600)

  const { listening, rootCertificate } = await service.api()
  const [host, port] = listening[0].split(':')
  const ask = (path: string, token: string) =>
    new Promise<{ status: number; text: string }>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` }
      request({ host, port, path, headers, ca: rootCertificate, agent: false }, response => {
        const chunks: Buffer[] = []
        response.on('data', chunk => chunks.push(chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode!, text: Buffer.concat(chunks).toString() }),
        )
      })
        .on('error', reject)
        .end()
    })
  const { paths } = JSON.parse((await ask('/openapi.json', tokens.get('read')!)).text)
  const gets = Object.keys(paths).filter(path => 'get' in paths[path] && path !== '/v1/events/feed')
  assert.ok(gets.length > 15)
  const said: string[] = []
  for (const [scope, token] of tokens) {
    for (const path of [...gets, '/metrics?clients=1', '/v1/events?limit=1000', '/v1/controllers?all=true']) {
      const name = path.startsWith('/v1/attachments') ? 'paris' : 'web'
      const format = path.endsWith('/export') ? '?format=strongswan' : ''
      const { status, text } = await ask(path.replace('{name}', name) + format, token)
      if (scope === 'admin') assert.equal(status, 200, `${path}: ${text}`)
      said.push(text)
    }
  }
  // Of what comes late, such as a delivery that failed.
  await sleep(100)
  said.push(...log, readFileSync(join(dataDir, 'events.jsonl'), 'utf8'))

  const onDisk = secretsIn(dataDir)
  const kinds = ['identity.key', 'root.key', 'issuing.key', 'server.key', 'tls-crypt-v2.key']
  for (const kind of kinds)
    assert.ok(
      onDisk.some(([what]) => what.startsWith(kind)),
      kind,
    )
  assert.equal(onDisk.filter(([what]) => what.includes('.json')).length, 4, 'two of each client')
  const secrets = [
    ...onDisk,
    ...[PSK, Buffer.from(PSK).toString('base64'), HOOK, HOOK_SECRET, PASSPHRASE].map(each => [each, each]),
    ...[...tokens].map(([scope, token]) => [`token ${scope}`, parseToken(token)!.secret]),
    ['invitation', invitation.slice(-40)],
  ]
  const all = said.join('\n')
  assert.ok(all.length > 10_000 && all.includes('paris'))
  for (const [what, secret] of secrets) {
    assert.ok(secret.length >= 8, what)
    const at = all.indexOf(secret)
    assert.equal(at, -1, `${what} in: ${all.slice(Math.max(0, at - 200), at)}`)
  }
})
