// What `npm run mesh` shows to somebody who has just cloned this: as a plain user, and cleanly ended.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { run } from './command.ts'
import { NODE, WITHOUT_ROOT } from './controller.ts'
import { useLab } from './suite.ts'

describe('npm run mesh', () => {
  const use = useLab('demo')

  test('works without root, shows clients that reach each other, and leaves nothing behind', async () => {
    const host = await use.lab.host('laptop')
    const program = join(import.meta.dirname, '../../node/cli/demo.ts')
    const demo = await host.spawn('npm run mesh', [...WITHOUT_ROOT, NODE, program])
    await demo.waitFor(/anna \S+ .*[1-9]\d* of \d+ pings answered by ben/, 60)
    await demo.waitFor(/ben \S+ .*[1-9]\d* of \d+ pings answered by carl/, 20)
    await demo.waitFor(/carl \S+ .*[1-9]\d* of \d+ pings answered by anna/, 20)
    const [, dataDir] = await demo.waitFor(/--data (\S+) status/)
    assert.equal(existsSync(dataDir), true)
    const { code } = await demo.stop('SIGINT')
    assert.equal(code, 0)
    assert.equal(existsSync(dataDir), false)
    const left = (await run(['ip', 'netns', 'pids', host.namespace])).trim()
    assert.equal(left, '', 'no process is left')
  })
})
