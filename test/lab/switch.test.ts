// The switch with what needs root: TUN interfaces, narrow links, and the lack of privileges. Each in a namespace.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { withOpenCheckout } from './open-checkout.ts'

async function inNamespace(scenario: string): Promise<void> {
  const script = new URL('switch-scenarios.ts', import.meta.url).pathname
  const child = spawn(
    'unshare',
    [
      ...['--net', '--mount', ...withOpenCheckout()],
      ...['sh', '-c', 'ip link set lo up && exec "$0" "$@"', process.execPath, script, scenario],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 },
  )
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += chunk))
  const [status] = await once(child, 'close')
  assert.equal(status, 0, output)
}

test('a TUN carries packets between the kernel and the sessions', () => inNamespace('tun'))
test('a TUN without offloads does so, too', () => inNamespace('plain'))
test('a TUN is gone when the switch is, and its refusals are explained', () => inNamespace('gone'))
test('a TUN that somebody deletes comes back', () => inNamespace('deleted'))
test('a TUN that somebody renames or moves is back under its name, until that is done too often', () =>
  inNamespace('renamed'))
test('where segments do not fit the link, packets arrive all the same', () => inNamespace('narrow'))
test('without privileges the switch works without TUN, and says so', () => inNamespace('unprivileged'))
