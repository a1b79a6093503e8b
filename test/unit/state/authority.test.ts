import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { createMeshRoot, issueIssuingCa } from '../../../node/pki/authority.ts'
import { Authority, certificateTrust, isVoidAfter } from '../../../state/authority.ts'
import type { ControllerValue } from '../../../state/kinds.ts'
import { encodeRecord, type RecordOf, type StateRecord } from '../../../state/record.ts'
import {
  clientId,
  clientValue,
  controllerValue,
  identity,
  MESH_ID,
  meshValue,
  record,
  START,
  serial,
  trust,
} from './samples.ts'

const DAY = 86_400
const root = createMeshRoot({ meshName: 'test', meshId: MESH_ID, now: START, lifetime: 3650 * DAY })
const otherRoot = createMeshRoot({ meshName: 'test', meshId: MESH_ID, now: START, lifetime: 3650 * DAY })
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

function chain(index: number, by = root, lifetime = 365 * DAY): string {
  const request = {
    controllerId: identity(index).id,
    controllerName: `c${index}`,
    publicKey,
    now: START,
    lifetime,
  }
  return issueIssuingCa(by, request).pem
}

const refusal = (index: number, certificateChain: string) =>
  certificateTrust(root.pem).refuses(identity(index).id, controllerValue(index, { certificateChain }))

test('a controller is admitted by a CA certificate of the root that names it', () => {
  assert.equal(refusal(1, chain(1)), undefined)
  assert.equal(refusal(1, chain(1) + root.pem), undefined)
  assert.equal(refusal(1, chain(1, root, 1)), undefined, 'dates make no difference')
})

test('any other certificate is refused with the reason', () => {
  assert.match(refusal(1, chain(2))!, /names another controller/)
  assert.match(refusal(1, chain(1, otherRoot))!, /not signed by the mesh root/)
  assert.match(refusal(1, root.pem)!, /names another controller/)
  assert.match(
    refusal(1, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')!,
    /cannot be read/,
  )
  assert.match(
    refusal(1, otherRoot.pem + chain(1))!,
    /not signed/,
    'the first certificate is the one that counts',
  )
})

test('the root is known by its fingerprint', () => {
  const { rootFingerprint } = certificateTrust(root.pem)
  assert.match(rootFingerprint, /^[0-9a-f]{64}$/)
  assert.notEqual(rootFingerprint, certificateTrust(otherRoot.pem).rootFingerprint)
})

const controllers = new Map<string, RecordOf<'controller'>>()
function admit(
  index: number,
  change: Partial<ControllerValue> = {},
  time = START,
  author = index,
): RecordOf<'controller'> {
  const made = record({
    kind: 'controller',
    id: identity(index).id,
    value: controllerValue(index, change),
    author,
    time,
  })
  controllers.set(identity(index).id, made)
  return made
}

const judge = (given: StateRecord) =>
  new Authority(trust).judge(given, encodeRecord(given), id => controllers.get(id)).verdict

test('a record counts when its author is admitted and signed it', () => {
  admit(0)
  const client = record({ kind: 'client', id: clientId(1), value: clientValue(1), author: 0 })
  assert.equal(judge(client), 'good')
  assert.equal(judge({ ...client, author: identity(5).id }), 'unknown-author')
  assert.equal(judge({ ...client, sequence: 2 }), 'refused')
})

test("a controller's own record is written by itself, its removal by anyone admitted", () => {
  admit(0)
  const own = record({ kind: 'controller', id: identity(3).id, value: controllerValue(3), author: 3 })
  assert.equal(judge(own), 'good')
  assert.equal(judge(record({ kind: 'controller', id: own.id, value: own.value, author: 0 })), 'refused')
  const removal = record({
    kind: 'controller',
    id: own.id,
    value: controllerValue(3, { removedAt: START }),
    author: 0,
  })
  assert.equal(judge(removal), 'good')
})

test('the mesh record must name the root that is trusted', () => {
  admit(0)
  const mesh = record({
    kind: 'mesh',
    id: MESH_ID,
    value: { ...meshValue(), rootFingerprint: 'ff'.repeat(32) },
    author: 0,
  })
  assert.equal(judge(mesh), 'refused')
})

test('after a removal only revocations count, and the removal itself', () => {
  admit(0)
  admit(4, { removedAt: START + 10 }, START + 10, 0)
  const at = (time: number) =>
    record({ kind: 'client', id: clientId(1), value: clientValue(1), author: 4, time })
  assert.equal(judge(at(START + 9)), 'good')
  assert.equal(judge(at(START + 11)), 'void')
  const value = { client: clientId(1), reason: 'lost', at: START }
  assert.equal(
    judge(record({ kind: 'revocation', id: serial(1), value, author: 4, time: START + 11 })),
    'good',
  )
  assert.equal(isVoidAfter(at(START + 11), admit(4)), false, 'one that is admitted voids nothing')
  const leaving = record({
    kind: 'controller',
    id: identity(4).id,
    value: controllerValue(4, { removedAt: START + 10 }),
    author: 4,
    time: START + 10,
  })
  assert.equal(isVoidAfter(leaving, leaving), false)
})
