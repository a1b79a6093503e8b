// What an operator hears of a mesh of several versions.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { areAdjacent, versionNotice } from '../../../node/version-notices.ts'

const running = (...versions: string[]) => versions.map((version, index) => ({ name: `c${index}`, version }))

test('one version, or none that is in reach, is nothing to tell of', () => {
  assert.equal(versionNotice([]), undefined)
  assert.equal(versionNotice(running('0.1.0', '0.1.0', '')), undefined)
})

test('several versions are told, the oldest first', () => {
  assert.equal(
    versionNotice(running('0.10.0', '0.9.1', '0.10.0')),
    'the controllers run different versions of Overmesh (0.9.1 on c1, 0.10.0 on c0 and c2); upgrade those of the older',
  )
  const many = versionNotice(running('0.2.0', ...Array<string>(8).fill('0.1.0')))!
  assert.match(many, /0\.1\.0 on c1, c2, c3, c4, c5 and 3 more/)
})

test('versions that are not made to run together are told', () => {
  assert.match(versionNotice(running('0.1.0', '0.3.0'))!, /too far apart .*upgrade those of 0\.1\.0/)
  for (const [older, newer, adjacent] of [
    ['0.1.0', '0.2.9', true],
    ['1.1.0', '1.3.0', false],
    ['1.9.0', '2.0.0', true],
    ['1.9.0', '2.1.0', false],
    ['1.9.0', '3.0.0', false],
    ['0.1.0', 'nightly', true],
  ] as const)
    assert.equal(areAdjacent(older, newer), adjacent, `${older} and ${newer}`)
})
