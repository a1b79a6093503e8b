// The command itself: what it says to wrong usage, and to data directories that it cannot or must not use.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { attempt } from './command.ts'
import { Controller, OVERMESH } from './controller.ts'
import { useLab } from './suite.ts'

const oneLine = /^overmesh: [^\n]+\n$/

describe('wrong usage gets one line and exit status 2', { concurrency: 4 }, () => {
  let controller: Controller
  useLab('usage', async lab => {
    controller = await Controller.init(await lab.host('hub'))
  })

  const wrong: string[][] = [
    ['nonsense'],
    ['client'],
    ['client', 'add'],
    ['client', 'add', 'two', 'names'],
    ['client', 'add', 'Upper Case'],
    ['client', 'add', '../../etc/passwd'],
    ['client', 'add', 'x', '--ip', '10.77.0.300'],
    ['client', 'add', 'x', '--ip', '192.168.1.1'],
    ['client', 'add', 'x', '--subnet', '10.0.0.0/99'],
    ['client', 'add', 'x', '--tag', 'no-value'],
    ['client', 'add', 'x', '--days', '0'],
    ['client', 'add', 'x', '--days', 'many'],
    ['client', 'pack', 'x', '--format', 'docx'],
    ['client', 'list', '--no-such-option'],
    ['init', '--name', 'lab'],
    ['init', '--name', 'lab', '--subnet', '10.77.0.0/33'],
    ['init', '--name', 'lab', '--subnet', 'everything'],
    ['init', '--name', 'lab', '--subnet', '10.0.0.0/8', '--listen', '0.0.0.0:99999'],
    ['init', '--name', 'lab', '--subnet', '10.0.0.0/8', '--public', 'a b'],
    ['probe'],
    ['up', '--log-level', 'loud'],
    ['events', 'extra'],
  ]
  for (const args of wrong) {
    test(`overmesh ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await controller.attempt(args)
      assert.match(stderr, oneLine)
      assert.equal(code, 2, stderr)
      assert.equal(stdout, '')
    })
  }

  const refusedThings: string[][] = [
    ['client', 'show', 'nobody'],
    ['client', 'revoke', 'nobody'],
    ['client', 'kick', 'nobody'],
    ['probe', '/does/not/exist.ovpn'],
    ['init', '--name', 'other', '--subnet', '10.9.0.0/16'],
  ]
  for (const args of refusedThings) {
    test(`overmesh ${args.join(' ')} is refused with exit status 1`, async () => {
      const { code, stderr } = await controller.attempt(args)
      assert.match(stderr, oneLine)
      assert.equal(code, 1, stderr)
    })
  }

  test('help and version go to standard output', async () => {
    for (const args of [
      ['--version'],
      ['--help'],
      ['help'],
      ['help', 'client', 'add'],
      ['client', 'add', '--help'],
    ]) {
      const { code, stdout, stderr } = await attempt([...OVERMESH, ...args])
      assert.equal(code, 0, stderr)
      assert.ok(stdout.length > 0)
      assert.equal(stderr, '')
    }
    assert.match((await attempt([...OVERMESH, '--version'])).stdout, /^\d+\.\d+\.\d+/)
    assert.match((await attempt([...OVERMESH, 'help', 'client', 'add'])).stdout, /overmesh client add \S+/)
  })

  test('--json is one document, and nothing else', async () => {
    for (const args of [['status'], ['client', 'list'], ['sessions'], ['routes'], ['state'], ['doctor']])
      JSON.parse((await controller.attempt([...args, '--json'])).stdout)
  })
})

describe('a data directory', () => {
  let controller: Controller
  const use = useLab('directory', async lab => {
    controller = await Controller.start(await lab.host('hub'), { upArgs: ['--log-level', 'warn'] })
    await controller.addClient('before')
  })

  /** Runs a command on another data directory. */
  const on = (dataDir: string, ...args: string[]) =>
    controller.host.attempt([...OVERMESH, ...args, '--data', dataDir], { timeout: 30_000 })

  /** Every file below a directory with its content. */
  function contents(directory: string): Map<string, string> {
    const files = new Map<string, string>()
    for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) {
        const path = join(entry.parentPath, entry.name)
        files.set(path, readFileSync(path).toString('base64'))
      }
    return files
  }

  test('is run by one controller at a time', async () => {
    const { code, stderr } = await controller.attempt(['up'])
    assert.equal(code, 1)
    assert.match(stderr, /^overmesh: .*already running.*\n$/)
    assert.equal(controller.process.running, true)
  })

  test('that does not exist is not invented', async () => {
    for (const args of [
      ['up'],
      ['status'],
      ['client', 'list'],
      ['client', 'add', 'x'],
      ['state', 'verify'],
    ]) {
      const missing = join(use.lab.directory, 'missing')
      const { code, stderr } = await on(missing, ...args)
      assert.equal(code, 1)
      assert.match(stderr, /^overmesh: .*init.*\n$/)
      assert.equal(existsSync(missing), false)
    }
  })

  test('with other people’s files in it is not used by init', async () => {
    const directory = join(use.lab.directory, 'documents')
    mkdirSync(directory)
    writeFileSync(join(directory, 'letter.txt'), 'Dear Sir or Madam')
    const { code, stderr } = await on(directory, 'init', '--name', 'lab', '--subnet', '10.9.0.0/16')
    assert.equal(code, 1)
    assert.match(stderr, oneLine)
    assert.deepEqual(readdirSync(directory), ['letter.txt'])
  })

  test('holds its secrets for its owner alone', async () => {
    const out = (await attempt(['find', controller.dataDir, '-type', 'f', '-perm', '/077'])).stdout
    assert.equal(out, '')
    assert.match((await attempt(['stat', '-c', '%a', controller.dataDir])).stdout, /^700$/m)
  })

  test('of a mesh is never made into another one', async () => {
    await controller.process.stop()
    const before = contents(controller.dataDir)
    const { code, stderr } = await controller.attempt(['init', '--name', 'other', '--subnet', '10.9.0.0/16'])
    assert.equal(code, 1)
    assert.match(stderr, oneLine)
    assert.deepEqual(contents(controller.dataDir), before)
    await controller.up()
  })

  describe('that is damaged', () => {
    const damages: [what: string, damage: (directory: string) => void][] = [
      [
        'its configuration is not JSON',
        directory => writeFileSync(join(directory, 'config.json'), '{"version":1,'),
      ],
      [
        'its configuration is of another program',
        directory => writeFileSync(join(directory, 'config.json'), '[]'),
      ],
      [
        'its configuration is of a later version',
        directory => writeFileSync(join(directory, 'config.json'), '{"version":99}'),
      ],
      ['its identity is not a key', directory => writeFileSync(join(directory, 'identity.key'), 'not a key')],
      ...[
        'pki/root.crt',
        'pki/issuing.crt',
        'pki/issuing.key',
        'pki/server.crt',
        'pki/server.key',
        'secrets/tls-crypt-v2.key',
      ].map((file): [string, (directory: string) => void] => [
        `${file} is cut short`,
        directory => {
          const path = join(directory, file)
          writeFileSync(path, readFileSync(path).subarray(0, 100))
        },
      ]),
      [
        'bytes of its records are others',
        directory => {
          const state = join(directory, 'state', 'records')
          const files = readdirSync(state).filter(name => /\.(log|ldb)$/.test(name))
          assert.ok(files.length > 0)
          for (const name of files) {
            const bytes = readFileSync(join(state, name))
            for (let at = bytes.length >> 2; at < bytes.length; at += 37) bytes[at] ^= 0x55
            writeFileSync(join(state, name), bytes)
          }
        },
      ],
      [
        'its records have lost their index',
        directory => {
          const state = join(directory, 'state', 'records')
          for (const name of readdirSync(state))
            if (/^(MANIFEST|CURRENT)/.test(name)) writeFileSync(join(state, name), 'x')
        },
      ],
    ]

    for (const [what, damage] of damages) {
      test(`${what}: it is explained, and nothing is overwritten`, async () => {
        await controller.process.stop()
        const copy = join(use.lab.directory, 'damaged')
        await attempt(['cp', '-a', controller.dataDir, copy])
        damage(copy)
        const secrets = contents(copy)
        const { code, stderr, stdout } = await on(copy, 'up')
        assert.equal(code, 1, `up ended with ${code}: ${stderr}`)
        assert.match(stderr.trim().split('\n').at(-1)!, /^overmesh: .{20,}/)
        assert.doesNotMatch(stderr, /internal error|^\s+at /m)
        assert.doesNotMatch(stdout, /ready/)
        const after = contents(copy)
        for (const [path, content] of secrets) {
          // LevelDB turns its logs on every opening; keys and configuration must not change.
          if (path.includes('/state/')) continue
          assert.equal(after.get(path), content, path)
        }
        await attempt(['rm', '-r', copy])
        await controller.up()
      })
    }
  })
})
