// Sites that a controller hands over while it drains.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Handovers, KNOWN_MS, PASSED_MS } from '../../../node/ipsec/handovers.ts'

test('a site is carried, then left to the other, then sent away; each for its time, however late it is looked at', () => {
  for (const late of [0, 1, 10 * (KNOWN_MS + PASSED_MS)]) {
    const handovers = new Handovers()
    assert.deepEqual(handovers.decide('a', 5), { step: 'carry', isNew: true })
    assert.deepEqual(handovers.decide('a', 5 + KNOWN_MS - 1), { step: 'carry', isNew: false })
    assert.ok(handovers.isCarried('a') && handovers.areUnderWay)
    const left = 5 + KNOWN_MS + late
    assert.deepEqual(handovers.decide('a', left), { step: 'leave', isNew: true })
    assert.ok(!handovers.isCarried('a') && handovers.areUnderWay)
    assert.deepEqual(handovers.decide('a', left + PASSED_MS - 1), { step: 'leave', isNew: false })
    assert.deepEqual(handovers.decide('a', left + PASSED_MS + late), { step: 'end', isNew: true })
    assert.deepEqual(handovers.decide('a', left + 1e6), { step: 'end', isNew: false })
    assert.ok(!handovers.areUnderWay)
    handovers.forget('a')
    assert.deepEqual(handovers.decide('a', 1e9), { step: 'carry', isNew: true })
  }
})
