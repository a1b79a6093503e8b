// `npm run mesh` and `npm test` by whatever Node there is.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { attempt } from '../../lab/command.ts'

const TOP = join(import.meta.dirname, '../../..')
const { scripts } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))

for (const name of ['mesh', 'test']) {
  test(`npm run ${name} with an older Node and none of the checkout's own says what to do`, async () => {
    const [node, launcher] = scripts[name].split(' ')
    assert.equal(node, 'node')
    const older = 'Object.defineProperty(process.versions, "node", { value: "20.19.0" })'
    const argv = [process.execPath, '--import', `data:text/javascript,${older}`, launcher, 'no/such/file.ts']
    const { code, stdout, stderr } = await attempt(argv, { cwd: TOP })
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /^overmesh: Node 20\.19\.0 is too old.*npm rebuild node --ignore-scripts=false.*\n$/)
  })
}

test('a Node that was built without TypeScript says what to do', async () => {
  const argv = [process.execPath, '--no-experimental-strip-types', 'node/cli/checkout.js', 'no/such/file.ts']
  const { code, stdout, stderr } = await attempt(argv, { cwd: TOP })
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(
    stderr,
    /^overmesh: this Node \S+ runs no TypeScript.*npm rebuild node --ignore-scripts=false.*\n$/,
  )
})

test('a file is run as if it had been named itself', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-checkout-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'file.ts')
  writeFileSync(file, 'const given: string[] = process.argv.slice(1)\nconsole.log(JSON.stringify(given))\n')
  const { stdout } = await attempt([process.execPath, 'node/cli/checkout.js', file, '--seconds', '5'], {
    cwd: TOP,
  })
  assert.deepEqual(JSON.parse(stdout), [file, '--seconds', '5'])
})
