// What happens before the command line is looked at.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const LAUNCHER = fileURLToPath(new URL('../../../node/cli/overmesh.js', import.meta.url))
/** Each program that is run says what Node was told. */
const SAY = `data:text/javascript,process.stderr.write('(' + process.execArgv.slice(0, -2).join(' ') + ')')`

function started(args: string[], options = ''): string {
  const env = { ...process.env, NODE_OPTIONS: options }
  const { status, stderr } = spawnSync(process.execPath, ['--import', SAY, LAUNCHER, ...args], { env })
  assert.equal(status, 0)
  return String(stderr)
}

test('a controller runs on large pages, and other commands do without', () => {
  assert.equal(started(['--data', '/nowhere', 'up', '--help']), '()(--use-largepages=silent)')
  assert.equal(started(['status', '--help']), '()')
})

test('who says what to do about large pages has their will', () => {
  assert.equal(started(['up', '--help'], '--use-largepages=off'), '()')
})

test('output that cannot be written is said in one line, with exit status 1', () => {
  const full = openSync('/dev/full', 'w')
  try {
    const out = spawnSync(process.execPath, [LAUNCHER, 'help'], { stdio: ['ignore', full, 'pipe'] })
    assert.equal(out.status, 1)
    assert.match(
      String(out.stderr),
      /^overmesh: standard output cannot be written: no space left on device; [^\n]*\n$/,
    )
    const err = spawnSync(process.execPath, [LAUNCHER, 'no-such'], { stdio: ['ignore', 'pipe', full] })
    assert.notEqual(err.status, 0)
  } finally {
    closeSync(full)
  }
})

/** A package that was installed elsewhere: the launcher, and a program of one line. */
function install(directory: string): string {
  const launcher = join(directory, 'node/cli/overmesh.js')
  mkdirSync(join(directory, 'node/cli'), { recursive: true })
  cpSync(LAUNCHER, launcher)
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
  writeFileSync(join(directory, 'node/cli/main.ts'), 'export const main = () => console.log("ran")\n')
  return launcher
}

function run(launcher: string): string {
  const { NODE_COMPILE_CACHE: _, ...env } = process.env
  return String(spawnSync(process.execPath, [launcher], { env }).stdout)
}

test('what a command has compiled is kept beside what was installed, for whoever installed it', t => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-launcher-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const launcher = install(directory)
  assert.equal(run(launcher), 'ran\n', 'there is nowhere to keep it')
  mkdirSync(join(directory, 'node_modules'))
  assert.equal(run(launcher), 'ran\n')
  assert.ok(readdirSync(join(directory, 'node_modules/.cache/overmesh')).length > 0)
})

test('where somebody else has installed it, nothing is kept', t => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-launcher-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const launcher = install(directory)
  const installed = join(directory, 'node_modules')
  if (process.getuid?.() === 0) {
    mkdirSync(installed)
    chownSync(installed, 65534, 65534)
  } else {
    symlinkSync('/usr', installed)
  }
  assert.equal(run(launcher), 'ran\n')
  assert.ok(!readdirSync(installed).includes('.cache'))
})
