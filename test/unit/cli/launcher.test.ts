// What happens before the command line is looked at.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
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
