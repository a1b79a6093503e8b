// What is said of an attachment that is up with less than it was to have.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { IkeSa } from '../../../node/ipsec/engine.ts'
import { narrowedNotes } from '../../../node/ipsec/notes.ts'
import type { AttachmentValue } from '../../../state/kinds.ts'

const value = {
  localSubnets: ['10.77.0.0/16'],
  remoteSubnets: ['192.168.20.0/24', '192.168.21.0/24'],
} as unknown as AttachmentValue
const sa = (...pairs: [local: string, remote: string][]) =>
  ({
    children: pairs.map(([local, remote]) => ({ localSubnets: [local], remoteSubnets: [remote] })),
  }) as unknown as IkeSa

test('networks that the device did not agree to are named', () => {
  assert.deepEqual(narrowedNotes(value, [sa(['10.77.0.0/16', '192.168.20.0/24'])]), [
    'the device did not agree to all of 192.168.21.0/24 there: what it has is less',
  ])
  const parts = sa(['10.77.4.0/24', '192.168.20.0/24'], ['10.77.4.0/24', '192.168.21.5..192.168.21.9'])
  assert.equal(narrowedNotes(value, [parts]).length, 2)
})

test('nothing is said where all is agreed to, in one child or in several, or while nothing is up', () => {
  const both = sa(['10.77.0.0/16', '192.168.20.0/24'], ['0.0.0.0/0', '192.168.21.0/24'])
  assert.deepEqual(narrowedNotes(value, [both]), [])
  assert.deepEqual(narrowedNotes(value, []), [])
  assert.deepEqual(narrowedNotes(value, [sa()]), [])
})
