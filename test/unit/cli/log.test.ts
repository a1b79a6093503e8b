import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { createLog, type LogInit, withoutKeys } from '../../../node/cli/log.ts'
import { PACK_TEXT } from '../api/fake-service.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
const LOG_MODULE = import.meta.resolve('../../../node/cli/log.ts')
const keyBytes = pem.split('\n')[1].slice(0, 20)

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-log-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

function logged(init: Partial<LogInit>, write: (logger: ReturnType<typeof createLog>) => void): string {
  const file = join(directory, 'log')
  const fd = openSync(file, 'w')
  const logger = createLog({ level: 'info', readable: false, colour: false, fd, ...init })
  write(logger)
  closeSync(fd)
  return readFileSync(file, 'utf8')
}

for (const readable of [false, true]) {
  test(`no secret in the ${readable ? 'readable' : 'JSON'} log, wherever it was put`, () => {
    const text = logged({ readable }, logger => {
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

test('JSON is an object a line, with an ISO time', () => {
  const lines = logged({}, logger => {
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

test('what cannot be written is lost and not kept, and what can be again begins a line of its own', () => {
  const file = join(directory, 'log')
  const program = `
    import { closeSync, openSync, truncateSync } from 'node:fs'
    const { createLog } = await import(process.argv[1])
    const fd = openSync(process.argv[2], 'a')
    const log = createLog({ level: 'info', readable: false, colour: false, fd })
    for (let i = 0; i < 1000; i++) log.info('a line that is one of many')
    // As those do that rotate logs.
    truncateSync(process.argv[2], 2000)
    log.info('again')
    closeSync(fd)
    log.info('nowhere')`
  // Nothing may be longer than 4 kB, which is an error as of a full disk.
  const limited = 'trap "" XFSZ; ulimit -f 4; exec "$@"'
  const node = [process.execPath, '--input-type=module', '--eval', program, '--', LOG_MODULE, file]
  const { status, stderr } = spawnSync('bash', ['-c', limited, 'bash', ...node], {
    timeout: 120_000,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  assert.equal(JSON.parse(lines[0]).msg, 'a line that is one of many')
  assert.equal(JSON.parse(lines.at(-1)!).msg, 'again')
})

test('colours only when asked for', () => {
  assert.doesNotMatch(
    logged({ readable: true }, logger => logger.error('x')),
    /\u001b/,
  )
  assert.match(
    logged({ readable: true, colour: true }, logger => logger.error('x')),
    /\u001b\[/,
  )
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
