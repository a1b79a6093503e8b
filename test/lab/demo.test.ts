// What `npm run mesh` shows to somebody who has just cloned this: as a plain user, and cleanly ended.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { run } from './command.ts'
import { NODE, WITHOUT_ROOT } from './controller.ts'
import type { Host } from './host.ts'
import { until } from './lab.ts'
import { useLab } from './suite.ts'

const processesOn = async (host: Host): Promise<string> =>
  (await run(['ip', 'netns', 'pids', host.namespace])).trim()

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
    assert.equal(await processesOn(host), '', 'no process is left')
  })

  test('leaves nothing behind either when its terminal is closed, or nobody reads what it says', async () => {
    const host = await use.lab.host('closed')
    const program = join(import.meta.dirname, '../../node/cli/demo.ts')
    const command = [...WITHOUT_ROOT, NODE, program]
    const terminal = ['script', '--quiet', '--command', command.join(' '), '/dev/null']
    const reader = ['sh', '-c', `${command.join(' ')} | { sed '/Ctrl-C ends/q'; exec cat >/dev/full; }`]
    for (const argv of [terminal, reader]) {
      const demo = await host.spawn('npm run mesh', argv)
      const [, dataDir] = await demo.waitFor(/--data (\S+) status/, 60)
      await demo.waitFor(/Ctrl-C ends/)
      if (argv === terminal) await demo.stop('SIGKILL')
      await until('all has ended', async () => (await processesOn(host)) === '', 30)
      assert.equal(existsSync(dataDir), false)
    }
  })
})
