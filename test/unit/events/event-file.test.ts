import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { EventFile, EventFileError } from '../../../node/event-file.ts'
import { EventLog } from '../../../node/events.ts'

function temporaryFile(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-events-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return join(directory, 'events.jsonl')
}

function opened(t: TestContext, path: string, maxBytes?: number): EventFile {
  const file = new EventFile(path, { maxBytes })
  t.after(() => file.close())
  return file
}

test('lines are written at once and read again', t => {
  const path = temporaryFile(t)
  const file = opened(t, path)
  assert.deepEqual(file.lines(), [])
  file.append('{"a":1}')
  file.append('{"b":"ü"}')
  assert.equal(readFileSync(path, 'utf8'), '{"a":1}\n{"b":"ü"}\n')
  assert.deepEqual(opened(t, path).lines(), ['{"a":1}', '{"b":"ü"}'])
})

test('only the owner can read the file, and the one set aside', t => {
  const path = temporaryFile(t)
  appendFileSync(path, '')
  chmodSync(path, 0o644)
  const file = opened(t, path, 100)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  for (let i = 0; i < 20; i++) file.append('x'.repeat(30))
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(statSync(`${path}.1`).mode & 0o777, 0o600)
})

test('the files stay within their bound and hold the latest lines, in order', t => {
  const path = temporaryFile(t)
  const file = opened(t, path, 1000)
  for (let i = 1; i <= 500; i++) {
    file.append(`line ${i}`)
    assert.ok(statSync(path).size <= 1000)
  }
  assert.ok(statSync(`${path}.1`).size <= 1000)
  const lines = file.lines()
  assert.ok(lines.length > 90)
  assert.deepEqual(
    lines,
    lines.map((_, i) => `line ${500 - lines.length + 1 + i}`),
  )
})

test('the bound holds over restarts', t => {
  const path = temporaryFile(t)
  for (let i = 0; i < 50; i++) {
    const file = new EventFile(path, { maxBytes: 200 })
    file.append('x'.repeat(60))
    file.close()
    assert.ok(statSync(path).size <= 200)
  }
})

test('a last line that a crash cut short spoils no other', t => {
  const path = temporaryFile(t)
  const first = new EventFile(path)
  const log = new EventLog({ store: first, now: Date.now })
  for (let i = 0; i < 3; i++) log.append({ type: 'session-up' })
  first.close()
  truncateSync(path, statSync(path).size - 20)
  const second = new EventLog({ store: opened(t, path), now: Date.now })
  assert.deepEqual(
    second.recent().map(event => event.seq),
    [1, 2],
  )
  second.append({ type: 'session-down' })
  second.append({ type: 'session-down' })
  const third = new EventLog({ store: opened(t, path), now: Date.now })
  assert.deepEqual(
    third.recent().map(event => `${event.seq} ${event.type}`),
    ['1 session-up', '2 session-up', '3 session-down', '4 session-down'],
  )
})

test('whatever is in the file, a log opens and goes on', t => {
  const path = temporaryFile(t)
  appendFileSync(path, Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 2654435761) >>> 24)))
  const log = new EventLog({ store: opened(t, path), now: Date.now })
  log.append({ type: 'session-up', client: 'web' })
  const again = new EventLog({ store: opened(t, path), now: Date.now })
  assert.equal(again.recent().at(-1)?.client, 'web')
})

test('a file much too long is read from its end only', t => {
  const path = temporaryFile(t)
  appendFileSync(path, `${'a'.repeat(50)}\n`.repeat(100))
  appendFileSync(path, 'the last\n')
  const lines = opened(t, path, 500).lines()
  assert.ok(lines.length < 12)
  assert.equal(lines.at(-1), 'the last')
  assert.ok(lines.slice(0, -1).every(line => line === 'a'.repeat(50)))
})

test('what cannot be opened is explained, and links are not followed', t => {
  const path = temporaryFile(t)
  assert.throws(() => new EventFile(join(path, 'nowhere')), EventFileError)
  mkdirSync(path)
  assert.throws(() => new EventFile(path), /cannot write .*make it writable/)
  symlinkSync('/dev/null', `${path}.link`)
  assert.throws(() => new EventFile(`${path}.link`), EventFileError)
})

test('after a write failed for want of its directory, the next that can be written is', t => {
  const path = temporaryFile(t)
  const file = opened(t, path, 100)
  file.append('x'.repeat(80))
  // A directory in the place of the file to be set aside: it cannot be replaced by one.
  mkdirSync(join(`${path}.1`, 'in the way'), { recursive: true })
  assert.throws(() => file.append('y'.repeat(80)))
  assert.throws(() => file.append('y'.repeat(80)))
  rmSync(`${path}.1`, { recursive: true })
  file.append('z'.repeat(80))
  assert.deepEqual(file.lines(), ['x'.repeat(80), 'z'.repeat(80)])
})

const WRITER = `
  const { EventFile } = await import(process.argv[1])
  const { EventLog } = await import(process.argv[2])
  const log = new EventLog({ store: new EventFile(process.argv[3], { maxBytes: 200000 }), now: Date.now })
  for (;;) {
    for (let i = 0; i < 20; i++) console.log(log.append({ type: 'client-added', client: 'c'.repeat(100) }).seq)
    await new Promise(resolve => setImmediate(resolve))
  }`

test('what a process had recorded is there after kill -9, and no number is given twice', async t => {
  const path = temporaryFile(t)
  const url = (file: string) => new URL(`../../../node/${file}`, import.meta.url).href
  let last = 0
  for (let round = 0; round < 2; round++) {
    const args = ['--input-type=module', '-e', WRITER, url('event-file.ts'), url('events.ts'), path]
    const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = new Promise(resolve => writer.once('exit', resolve))
    const from = last
    for await (const line of createInterface(writer.stdout)) {
      assert.equal(Number(line), last + 1)
      last = Number(line)
      if (last === from + 200) writer.kill('SIGKILL')
    }
    await exited
    const log = new EventLog({ store: opened(t, path), now: Date.now })
    const kept = log.recent(10_000)
    const newest = kept.at(-1)!.seq
    assert.ok(newest >= last, `${newest} is there, ${last} was seen`)
    assert.deepEqual(
      kept.map(event => event.seq),
      kept.map((_, i) => newest - kept.length + 1 + i),
    )
    last = newest
  }
})
