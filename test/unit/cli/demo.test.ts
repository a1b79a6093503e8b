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

test('shows clients that reach each other, and Ctrl-C ends everything', async () => {
  const home = mkdtempSync(join(tmpdir(), 'overmesh-home-'))
  const child = spawn(process.execPath, [DEMO], {
    env: { ...process.env, HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close')
  let stderr = ''
  child.stderr.on('data', text => {
    stderr += text
  })
  try {
    const said: string[] = []
    let controller = 0
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line)
      if (!/anna .* [1-9]\d* of .* answered by ben.*ben .* [1-9]\d* of .* answered by anna/.test(line))
        continue
      const directory = join(home, '.overmesh-demo')
      for (const name of ['anna', 'ben']) assert.ok(existsSync(join(directory, `${name}.ovpn`)))
      controller = (await new RemoteController(apiSocketPath(join(directory, 'alpha'))).status()).controller
        .pid
      child.kill('SIGINT')
      break
    }
    const [code] = await closed
    assert.equal(stderr, '')
    assert.equal(code, 0, said.join('\n'))
    assert.ok(said.some(line => /sudo openvpn --config \S+\.ovpn/.test(line)))
    assert.ok(!existsSync(join(home, '.overmesh-demo')), 'its directory is removed')
    assert.throws(() => process.kill(controller, 0), { code: 'ESRCH' }, 'the controller has ended')
  } finally {
    child.kill('SIGKILL')
    rmSync(home, { recursive: true, force: true })
  }
})
