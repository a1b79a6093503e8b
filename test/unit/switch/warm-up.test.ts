// That the switch has met what it is to carry, before it carries it.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { warmUp } from '../../../node/switch/warm-up.ts'

const openFiles = (): number => readdirSync('/proc/self/fd').length

for (const [name, tun] of [
  ['without a TUN', undefined],
  ['with a TUN that takes single packets', { offload: false }],
  ['with a TUN that takes super-packets', { offload: true }],
] as const) {
  test(`many packets pass before the first real one, ${name}`, () => {
    const before = openFiles()
    const { packets, polls } = warmUp(tun)
    assert.ok(packets > 1000, `${packets}`)
    assert.ok(polls > 10, `${polls}`)
    assert.equal(openFiles(), before)
  })
}
