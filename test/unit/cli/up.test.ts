// The controller as a process: start, ready, signals, and what else a data directory is used for meanwhile.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { apiSocketPath, socketState } from '../../../node/api/socket.ts'
import { ownPort } from '../own-ports.ts'
import { type Result, run, start, UNREAD } from './run.ts'

let directory: string
let dataDir: string
let port: number
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-up-'))
  dataDir = join(directory, 'data')
  port = await ownPort()
  const made = await cli(
    'init',
    '--name',
    'test',
    '--subnet',
    '10.77.0.0/16',
    '--listen',
    `127.0.0.1:${port}`,
  )
  assert.equal(made.code, 0, made.stderr)
})
after(() => rmSync(directory, { recursive: true }))

const cli = (...args: string[]): Promise<Result> => run(args, { dataDir })

/** A controller that is ready. */
async function up(
  env: Record<string, string> = {},
): Promise<{ child: ChildProcess; log: string[]; closed: Promise<unknown[]> }> {
  const child = start(['up', '--no-tun'], { dataDir, env })
  const log: string[] = []
  createInterface({ input: child.stderr! }).on('line', line => log.push(line))
  const closed = once(child, 'close')
  const lines = createInterface({ input: child.stdout! })
  const first = await Promise.race([once(lines, 'line'), closed.then(() => ['it ended'])])
  assert.equal(first[0], 'ready', log.join('\n'))
  return { child, log, closed }
}

/** Connects with a pack, and is refused with it. */
async function probes(pack: string): Promise<void> {
  const args = ['probe', pack, '--ping', '10.77.0.1', '--count', '3', '--interval', '0.05']
  const plain = await cli(...args)
  assert.equal(plain.code, 0, plain.stderr)
  assert.match(plain.stdout, /^connected to 127\.0\.0\.1:\d+ as 10\.77\.0\.3 in \d+ ms/)
  assert.equal(plain.stdout.match(/^64 bytes from 10\.77\.0\.1: seq=\d ttl=64 time=[\d.]+ ms$/gm)?.length, 3)
  assert.match(plain.stdout, /\n3 sent, 3 answered, 0 % lost/)

  const input = readFileSync(pack, 'utf8')
  const piped = await run(['probe', '-', ...args.slice(2), '--json'], { dataDir, input })
  const document = JSON.parse(piped.stdout)
  assert.equal(document.connected, true)
  assert.equal(document.address, '10.77.0.3')
  assert.deepEqual([document.ping.sent, document.ping.received, document.ping.pings.length], [3, 3, 3])

  const silent = await cli('probe', pack, '--ping', '10.77.0.200', '--count', '1')
  assert.equal(silent.code, 1)
  assert.match(silent.stderr, /^overmesh: 10\.77\.0\.200 did not answer[^\n]*\n$/)

  // For as long as somebody reads what it tells.
  const first = UNREAD
  const unread = await run(['probe', pack, '--seconds', '86400'], { dataDir, first })
  assert.deepEqual([unread.code, unread.stderr], [0, ''])

  await cli('client', 'disable', 'web')
  const refused = await cli(...args)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /^overmesh: [^\n]*refused: [^\n]*disabled[^\n]*\n$/)
  await cli('client', 'enable', 'web')
}

test('says ready, serves its operator, and ends well on SIGTERM', async () => {
  const { child, log, closed } = await up()
  let more = ''
  child.stdout!.on('data', text => {
    more += text
  })
  const status = JSON.parse((await cli('status', '--json')).stdout)
  assert.equal(status.controller.running, true)
  assert.equal(status.controller.pid, child.pid)
  assert.deepEqual(status.controller.listen, [`127.0.0.1:${port}`])

  const added = await cli('client', 'add', 'web', '--out', join(directory, 'web.ovpn'))
  assert.equal(added.code, 0, added.stderr)
  await probes(join(directory, 'web.ovpn'))
  const second = await cli('up', '--no-tun')
  assert.equal(second.code, 1)
  assert.match(second.stderr, /^overmesh: a controller is already running on [^\n]+\n$/)
  assert.equal(second.stdout, '')

  child.kill('SIGTERM')
  assert.deepEqual((await closed).slice(0, 2), [0, null])
  assert.equal(more, '', 'ready is all that standard output has')
  assert.equal(await socketState(apiSocketPath(dataDir)), 'absent')
  for (const line of log) assert.equal(typeof JSON.parse(line).msg, 'string')
  assert.doesNotMatch(log.join('\n'), /PRIVATE KEY|tls-crypt-v2 client key/)
})

test('what was added is there without a controller, and nothing is open to others', async () => {
  const [client] = JSON.parse((await cli('client', 'list', '--json')).stdout)
  assert.equal(client.name, 'web')
  assert.equal(JSON.parse((await cli('status', '--json')).stdout).controller.running, false)
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    assert.equal(statSync(path).mode & 0o077, 0, path)
  }
})

test('starts again after kill -9, and ends on SIGINT', async () => {
  const killed = await up()
  killed.child.kill('SIGKILL')
  await killed.closed
  assert.equal(await socketState(apiSocketPath(dataDir)), 'stale')
  const { child, closed } = await up()
  assert.equal(JSON.parse((await cli('client', 'list', '--json')).stdout).length, 1)
  child.kill('SIGINT')
  assert.deepEqual((await closed).slice(0, 2), [0, null])
})

test('drains and ends well when its terminal is closed, however often that is said', async () => {
  const { child, log, closed } = await up()
  child.kill('SIGHUP')
  child.kill('SIGHUP')
  assert.deepEqual((await closed).slice(0, 2), [0, null], log.join('\n'))
  assert.equal(await socketState(apiSocketPath(dataDir)), 'absent')
  assert.equal(log.filter(line => JSON.parse(line).msg === 'draining, then stopping').length, 1)
  const events = (await cli('events', '--json')).stdout.trimEnd().split('\n')
  assert.equal(JSON.parse(events.at(-1)!).type, 'controller-stopped')
})

test('ends as soon as it says that it has stopped', { timeout: 60_000 }, async () => {
  // On a busy machine one may be slow.
  let soonest = Number.POSITIVE_INFINITY
  for (let run = 0; run < 3 && soonest >= 400; run++) {
    const { child, log, closed } = await up()
    child.kill('SIGTERM')
    assert.deepEqual((await closed).slice(0, 2), [0, null])
    const { msg, time } = JSON.parse(log.at(-1)!)
    assert.equal(msg, 'stopped')
    soonest = Math.min(soonest, Date.now() - Date.parse(time))
  }
  assert.ok(soonest < 400, `${soonest} ms`)
})

test('goes on when nobody reads its log, or its disk is full, and ends all the same', async () => {
  const full = openSync('/dev/full', 'w')
  for (const stderr of ['pipe', full] as const) {
    const child = start(['up', '--no-tun'], { dataDir, stderr })
    const closed = once(child, 'close')
    await once(createInterface({ input: child.stdout! }), 'line')
    child.stderr?.destroy()
    assert.equal((await cli('client', 'disable', 'web')).code, 0)
    assert.equal((await cli('client', 'enable', 'web')).code, 0)
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 60_000)
    assert.deepEqual((await closed).slice(0, 2), [0, null])
    clearTimeout(late)
  }
  closeSync(full)
})

test('explains a port that is in use, in one last line', async () => {
  const other = createSocket('udp4')
  other.bind(port, '127.0.0.1')
  await once(other, 'listening')
  const { code, stdout, stderr } = await cli('up', '--no-tun')
  other.close()
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr.trimEnd().split('\n').at(-1)!, new RegExp(`^overmesh: .*${port}.*in use`))
})

test('does not invent a mesh', async () => {
  const missing = join(directory, 'missing')
  const { code, stderr } = await run(['up'], { dataDir: missing })
  assert.equal(code, 1)
  assert.match(stderr, /^overmesh: [^\n]*overmesh init[^\n]*\n$/)
  assert.throws(() => statSync(missing))
})

test('the root key goes out under a passphrase and comes back only with it', async () => {
  const file = join(directory, 'root.pem')
  const good = join(directory, 'good')
  const bad = join(directory, 'bad')
  writeFileSync(good, 'correct horse battery\n')
  writeFileSync(bad, 'wrong horse battery\n')
  const out = await cli('authority', 'export', '--out', file, '--passphrase-file', good)
  assert.equal(out.code, 0, out.stderr)
  assert.match(readFileSync(file, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const wrong = await cli('authority', 'import', file, '--passphrase-file', bad)
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /^overmesh: [^\n]*passphrase[^\n]*\n$/)
  rmSync(join(dataDir, 'authority', 'root.key'))
  assert.equal((await cli('authority', 'export', '--passphrase-file', good)).code, 1)
  const back = await cli('authority', 'import', file, '--passphrase-file', good)
  assert.equal(back.code, 0, back.stderr)
  assert.equal((await cli('authority', 'export', '--passphrase-file', good)).code, 0)
  // Of other bytes earlier versions made the same.
  writeFileSync(good, '\ufffd'.repeat(32))
  writeFileSync(bad, Buffer.alloc(32, 0xa1))
  assert.equal(
    (await cli('authority', 'export', '--out', file, '--force', '--passphrase-file', good)).code,
    0,
  )
  const refused = await cli('authority', 'export', '--passphrase-file', bad)
  assert.deepEqual([refused.code, refused.stdout], [1, ''])
  assert.match(refused.stderr, /^overmesh: [^\n]* is no text in UTF-8; [^\n]*\n$/)
  const before = await cli('authority', 'import', file, '--passphrase-file', bad)
  assert.equal(before.code, 0, before.stderr)
  assert.match(before.stderr, /only as older versions read it/)
})

test('a promise that fails with nobody to hear of it ends nothing, and is said in status and log', async () => {
  const failing = 'process.on("SIGUSR2", () => void Promise.reject(new Error("not thought of")))'
  const import_ = `--import=data:text/javascript,${encodeURIComponent(failing)}`
  const { child, log, closed } = await up({ NODE_OPTIONS: import_ })
  const status = async () => JSON.parse((await cli('status', '--json')).stdout)
  const isSaid = (text: string) => /failed that was not reckoned with \(not thought of\)/.test(text)
  assert.equal((await status()).warnings.some(isSaid), false)
  child.kill('SIGUSR2')
  while (child.exitCode === null && !(await status()).warnings.some(isSaid));
  assert.equal(log.filter(line => isSaid(JSON.parse(line).msg)).length, 1)
  child.kill('SIGINT')
  assert.deepEqual(await closed, [0, null])
})
