// What a file with a secret on its first line may hold, and what is said of others.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { after, test } from 'node:test'
import { newPassphrase } from '../../../node/cli/passphrase.ts'
import { MAX_SECRET_LINE, readSecret } from '../../../node/cli/secret.ts'
import { FakeService } from '../api/fake-service.ts'
import { run, Served } from './run.ts'

const directory = mkdtempSync(join(tmpdir(), 'overmesh-secret-'))
after(() => rmSync(directory, { recursive: true }))
const file = join(directory, 'file')

function read(content: string | Uint8Array): Promise<string> {
  writeFileSync(file, content)
  return readSecret(file, 'the password')
}

const bytes = (...all: number[]) => Buffer.from(all)

test('it is the first line, whatever ends it, without the mark of an editor', async () => {
  const longest = 'x'.repeat(MAX_SECRET_LINE)
  for (const [content, expected] of [
    ['one', 'one'],
    ['one\n', 'one'],
    ['one\r\ntwo\r\n', 'one'],
    [' one \ntwo', ' one '],
    ['p\u00e4ss\u2028w\u00f6rt\n', 'p\u00e4ss\u2028w\u00f6rt'],
    ['\ufeffone\n', 'one'],
    ['\ufeff\ufeffone\n', '\ufeffone'],
    [`${longest}\n`, longest],
    [`\ufeff${longest}\r\nmore`, longest],
  ])
    assert.equal(await read(content), expected, JSON.stringify(content.slice(0, 20)))
})

test('what is no text, too long or not there is refused in words that do not repeat it', async () => {
  for (const [content, said] of [
    ['', /^the first line of \S+ is empty; put the password there$/],
    ['\nsecret', /is empty/],
    ['\ufeff\r\n', /is empty/],
    ['s3cret'.repeat(1000), /is longer than 4096 bytes; put the password there, and nothing else$/],
    [`${'x'.repeat(MAX_SECRET_LINE + 1)}\n`, /is longer than 4096 bytes/],
    [
      Buffer.alloc(32, 0x80),
      /is no text in UTF-8; put the password there as text, such as the base64 of random/,
    ],
    [Buffer.alloc(32, 0xa1), /is no text in UTF-8/],
    [Buffer.from('s3cr\u00e9t\n', 'latin1'), /is no text in UTF-8/],
    [Buffer.from('\ufeffs3cret\n', 'utf16le'), /is no text in UTF-8/],
    // A surrogate, and a sign that was cut.
    [bytes(0xed, 0xa0, 0x80), /is no text in UTF-8/],
    [bytes(0x73, 0xe2, 0x82), /is no text in UTF-8/],
  ] as const)
    await assert.rejects(read(content), ({ name, message }: Error) => {
      assert.equal(name, 'CommandError')
      assert.match(message, said)
      assert.doesNotMatch(message, /s3c/)
      return true
    })
  await assert.rejects(
    readSecret(join(directory, 'none'), 'the password'),
    /cannot read the password from .*ENOENT/,
  )
  // What is not of the first line is no matter.
  assert.equal(await read(Buffer.concat([Buffer.from('one\n'), Buffer.alloc(9000, 0x80)])), 'one')
})

test('standard input is read to the end of its first line', async () => {
  const service = new FakeService('web')
  await using served = await Served.open(service)
  const pack = [
    'client',
    'pack',
    'web',
    '--format',
    'p12',
    '--out',
    'web.p12',
    '--force',
    '--password-file',
    '-',
  ]
  for (const [input, password] of [
    ['\ufeffone\r\ntwo\n', 'one'],
    ['last', 'last'],
    [`one\n${'x'.repeat(9000)}`, 'one'],
  ]) {
    const { code, stderr } = await run(pack, { dataDir: served.dataDir, cwd: directory, input })
    assert.equal(code, 0, stderr)
    assert.equal(
      (service.calls.at(-1) as [string, string, string, { password: string }])[3].password,
      password,
    )
  }
})

test('a new passphrase is not taken from a terminal that sends no UTF-8', async t => {
  const { stdin } = process
  t.after(() => Object.defineProperty(process, 'stdin', { value: stdin }))
  const typed = async (line: Buffer) => {
    const terminal = Object.assign(new PassThrough(), { isTTY: true })
    Object.defineProperty(process, 'stdin', { value: terminal })
    const chosen = newPassphrase(undefined)
    terminal.write(line)
    await new Promise(resolve => setImmediate(resolve))
    terminal.write(line)
    return chosen
  }
  assert.equal(await typed(Buffer.from('p\u00e4ss\r')), 'p\u00e4ss')
  await assert.rejects(
    typed(Buffer.from('p\u00e4ss\r', 'latin1')),
    /what this terminal sends is no text in UTF-8; type/,
  )
})
