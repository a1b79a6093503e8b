// What `npm pack` makes, installed as a user does who has Node and nothing else: no compiler, no registry.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { attempt, type CommandResult, run } from '../../lab/command.ts'
import { ownPort } from '../own-ports.ts'

const TOP = join(import.meta.dirname, '../../..')
/** Bytes, packed: dependencies with their binaries for every platform they come with. */
const MAX_SIZE = 25_000_000
const MINUTES = 60_000

let directory: string
let dataDir: string
let pack: { filename: string; size: number; unpackedSize: number; files: { path: string }[] }
let overmesh: string
let npm: string
/** Node, npm and a shell are all there is. */
let env: NodeJS.ProcessEnv

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-package-'))
  dataDir = join(directory, 'data')
  const bin = join(directory, 'bin')
  mkdirSync(bin)
  npm = realpathSync(process.env.npm_execpath ?? (await run(['sh', '-c', 'command -v npm'])).trim())
  symlinkSync(process.execPath, join(bin, 'node'))
  symlinkSync(realpathSync('/bin/sh'), join(bin, 'sh'))
  const inCheckout = { cwd: TOP, timeout: 4 * MINUTES }
  const out = await run(
    [process.execPath, npm, 'pack', '--json', '--pack-destination', directory],
    inCheckout,
  )
  pack = Object.values(JSON.parse(out.slice(out.search(/^[[{]/m)))).at(-1) as typeof pack
  env = { PATH: bin, HOME: directory, npm_config_cache: join(directory, 'cache'), OVERMESH_DATA: dataDir }
  const prefix = join(directory, 'prefix')
  const archive = join(directory, pack.filename)
  await run([process.execPath, npm, 'install', '--global', '--offline', '--prefix', prefix, archive], {
    env,
    cwd: directory,
    timeout: 4 * MINUTES,
  })
  overmesh = join(prefix, 'bin/overmesh')
})
after(() => rmSync(directory, { recursive: true, force: true }))

const cli = (...args: string[]): Promise<CommandResult> =>
  attempt([overmesh, ...args], { env, cwd: directory })

test('holds what runs, and nothing else of the checkout', context => {
  const own = pack.files.map(({ path }) => path).filter(path => !path.startsWith('node_modules/'))
  const code = /^dist\/(node|mesh|state)\/.*\.(js|d\.ts)$/
  const manual = /^docs\/.*\.md$/
  const others = own.filter(path => !code.test(path) && !manual.test(path)).sort()
  context.diagnostic(
    `${(pack.size / 1e6).toFixed(1)} MB, ${(pack.unpackedSize / 1e6).toFixed(1)} MB unpacked`,
  )
  assert.deepEqual(others, [
    ...[
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'deploy/README.md',
      'deploy/grafana/overmesh.json',
      'deploy/install.sh',
      'deploy/overmesh.service',
      'deploy/prometheus/alerts.yaml',
      'deploy/prometheus/scrape.yaml',
    ],
    ...['dist/package.json', 'node/cli/overmesh.js', 'package.json'],
  ])
  assert.ok(own.includes('dist/node/cli/main.js'))
  assert.ok(own.includes('docs/README.md'))
  assert.ok(pack.size < MAX_SIZE, `${pack.size} bytes`)
})

test('a bill of materials has every dependency with its licence, and nothing of development', async () => {
  const text = await run(
    [process.execPath, npm, 'sbom', '--package-lock-only', '--omit', 'dev', '--sbom-format', 'cyclonedx'],
    { cwd: TOP, timeout: MINUTES },
  )
  const { components } = JSON.parse(text) as { components: { name: string; licenses?: unknown[] }[] }
  const names = components.map(({ name }) => name)
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) assert.ok(names.includes(name), name)
  for (const name of Object.keys(devDependencies)) assert.ok(!names.includes(name), name)
  assert.deepEqual(
    components.filter(({ licenses = [] }) => licenses.length === 0).map(({ name }) => name),
    [],
  )
})

test('says its version', async () => {
  const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
  assert.deepEqual(await cli('--version'), { code: 0, stdout: `${version}\n`, stderr: '' })
})

test('founds a mesh, runs it, and carries a client', async () => {
  const listen = `127.0.0.1:${await ownPort()}`
  const addresses = ['--listen', listen, '--mesh-listen', listen]
  const made = await cli('init', '--name', 'packed', '--subnet', '10.77.0.0/16', ...addresses)
  assert.equal(made.code, 0, made.stderr)
  const controller = spawn(overmesh, ['up', '--no-tun'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(controller, 'close')
  let log = ''
  controller.stderr.on('data', text => {
    log += text
  })
  try {
    const [line] = await Promise.race([once(createInterface(controller.stdout), 'line'), ended])
    assert.equal(line, 'ready', log)
    const added = await cli('client', 'add', 'web', '--out', 'web.ovpn')
    assert.equal(added.code, 0, added.stderr)
    const probe = await cli('probe', 'web.ovpn', '--ping', '10.77.0.1', '--count', '2', '--interval', '0.05')
    assert.equal(probe.code, 0, probe.stderr)
    assert.match(probe.stdout, /^2 sent, 2 answered/m)
    const status = JSON.parse((await cli('status', '--json')).stdout)
    assert.equal(status.controller.version, (await cli('--version')).stdout.trim())
  } finally {
    controller.kill('SIGTERM')
    assert.deepEqual(await ended, [0, null], log)
  }
})
