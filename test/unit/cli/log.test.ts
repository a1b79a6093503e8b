import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog, type LogInit, withoutKeys } from '../../../node/cli/log.ts'
import { PACK_TEXT } from '../api/fake-service.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
const keyBytes = pem.split('\n')[1].slice(0, 20)

const LAST = 'that was the last line'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-log-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

async function logged(
  init: Partial<LogInit>,
  write: (logger: ReturnType<typeof createLog>['logger']) => void,
): Promise<string> {
  const file = join(directory, 'log')
  const fd = openSync(file, 'w')
  const log = createLog({ level: 'info', readable: false, colour: false, fd, ...init })
  write(log.logger)
  // Lines are written in the background, in order.
  log.logger.error(LAST)
  while (!readFileSync(file, 'utf8').includes(LAST)) await sleep(5)
  closeSync(fd)
  return readFileSync(file, 'utf8')
}

for (const readable of [false, true]) {
  test(`no secret in the ${readable ? 'readable' : 'JSON'} log, wherever it was put`, async () => {
    const text = await logged({ readable }, logger => {
      logger.info({ password: 'hunter2', client: { privateKey: 'hunter2', name: 'web' } }, 'added')
      logger.error({ err: new Error(`cannot read ${pem}`) }, 'failed')
      logger.warn(`odd: ${pem} and ${pem}`)
      logger.child({ part: 'api' }).info({ body: { content: PACK_TEXT } }, 'request')
      logger.debug('not at this level')
    })
    assert.doesNotMatch(text, /hunter2|not a real key|not at this level/)
    assert.ok(!text.includes(keyBytes), text)
    assert.match(text, /PRIVATE KEY redacted/)
    assert.match(text, /web/)
    assert.match(text, /cannot read/)
  })
}

test('JSON is an object a line, with an ISO time', async () => {
  const lines = await logged({}, logger => {
    logger.info({ client: 'web' }, 'session up')
    logger.warn(`key ${pem} end`)
    logger.warn({ cut: pem.slice(0, 60) }, 'cut')
  })
  const objects = lines
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  assert.equal(objects[0].msg, 'session up')
  assert.ok(Math.abs(Date.parse(objects[0].time) - Date.now()) < 60_000)
  assert.match(objects[1].msg, /^key \[PRIVATE KEY redacted\]\s+end$/)
  assert.deepEqual([objects[2].cut, objects[2].msg], ['[PRIVATE KEY redacted]', 'cut'])
})

test('colours only when asked for', async () => {
  assert.doesNotMatch(await logged({ readable: true }, logger => logger.error('x')), /\u001b/)
  assert.match(await logged({ readable: true, colour: true }, logger => logger.error('x')), /\u001b\[/)
})

test('OpenVPN keys are keys, certificates are not', () => {
  const key =
    '-----BEGIN OpenVPN tls-crypt-v2 client key-----\\nAAAA\\n-----END OpenVPN tls-crypt-v2 client key-----'
  assert.equal(withoutKeys(`a ${key} b\n`), 'a [OpenVPN tls-crypt-v2 client key redacted] b\n')
  const cut = '-----BEGIN OpenVPN Static key V1-----\\n00ff'
  assert.equal(withoutKeys(`a ${cut}\n`), 'a [OpenVPN Static key V1 redacted]\n')
  const certificate = '-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\n'
  assert.equal(withoutKeys(certificate), certificate)
})
