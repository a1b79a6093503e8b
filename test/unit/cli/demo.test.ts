// `npm run mesh`, as somebody runs it who has nothing but this checkout.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RemoteController } from '../../../node/api/remote.ts'
import { apiSocketPath } from '../../../node/api/socket.ts'

const DEMO = fileURLToPath(new URL('../../../node/cli/demo.ts', import.meta.url))

const ALL_ANSWERED =
  /anna .* [1-9]\d* of .* answered by ben.*ben .* [1-9]\d* of .* answered by carl.*carl .* [1-9]\d* of .* answered by anna/

test('shows three controllers, a failover by key, and Ctrl-C ends everything', {
  timeout: 240_000,
}, async () => {
  const home = mkdtempSync(join(tmpdir(), 'overmesh-home-'))
  const child = spawn(process.execPath, [DEMO], {
    env: { ...process.env, HOME: home },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close')
  let stderr = ''
  child.stderr.on('data', text => {
    stderr += text
  })
  try {
    const said: string[] = []
    let controllers: number[] = []
    let killed = ''
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line)
      const directory = join(home, '.overmesh-demo')
      if (killed === '' && ALL_ANSWERED.test(line)) {
        for (const name of ['anna', 'ben', 'carl']) assert.ok(existsSync(join(directory, `${name}.ovpn`)))
        controllers = await Promise.all(
          ['alpha', 'beta', 'gamma'].map(
            async name =>
              (await new RemoteController(apiSocketPath(join(directory, name))).status()).controller.pid,
          ),
        )
        killed = 'asked'
        child.stdin.write('k')
      }
      killed = /^killing (\w+), which anna is on/.exec(line)?.[1] ?? killed
      const survivor = /client anna \S+ on (\w+)/.exec(line)?.[1]
      const hasMoved = line.includes(`controller ${killed} is dead`) && survivor && survivor !== killed
      if (hasMoved) {
        child.kill('SIGINT')
        break
      }
    }
    const [code] = await closed
    assert.equal(stderr, '')
    assert.equal(code, 0, said.join('\n'))
    assert.ok(said.some(line => /sudo openvpn --config \S+\.ovpn/.test(line)))
    assert.ok(!existsSync(join(home, '.overmesh-demo')), 'its directory is removed')
    for (const pid of controllers) {
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, 'the controller has ended')
    }
  } finally {
    child.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})
