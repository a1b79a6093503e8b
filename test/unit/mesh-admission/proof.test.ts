// How a newcomer shows that it was invited.
import assert from 'node:assert/strict'
import { createHash, createHmac, generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import {
  inviteKey,
  isInvited,
  possesses,
  proveInvited,
  provePossession,
} from '../../../mesh/admission/proof.ts'

const secret = new Uint8Array(32).fill(1)
const joiner = new Uint8Array(32).fill(2)
const inviter = new Uint8Array(32).fill(3)
const key = inviteKey(secret)

test('the proof is the one that is written down', () => {
  const derived = createHash('sha256')
    .update(Buffer.concat([Buffer.from('overmesh invite'), secret]))
    .digest()
  assert.deepEqual(key, derived)
  const expected = createHmac('sha256', derived)
    .update(Buffer.concat([Buffer.from('overmesh join'), joiner, inviter]))
    .digest()
  assert.deepEqual(proveInvited(key, joiner, inviter), expected)
})

test('a proof is good for its secret and its two keys only', () => {
  const proof = proveInvited(key, joiner, inviter)
  assert.ok(isInvited(key, proof, joiner, inviter))
  assert.ok(!isInvited(inviteKey(new Uint8Array(32)), proof, joiner, inviter))
  assert.ok(!isInvited(key, proof, inviter, joiner))
  assert.ok(!isInvited(key, proof, new Uint8Array(32), inviter))
  assert.ok(!isInvited(key, proof, joiner, new Uint8Array(32)))
  for (let bit = 0; bit < 256; bit++) {
    const turned = Uint8Array.from(proof)
    turned[bit >> 3] ^= 1 << (bit & 7)
    assert.ok(!isInvited(key, turned, joiner, inviter))
  }
  for (const length of [0, 31, 33]) assert.ok(!isInvited(key, new Uint8Array(length), joiner, inviter))
})

test('who has not the issuing key cannot show that it has', () => {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const shown = provePossession(own.privateKey, joiner, inviter)
  assert.ok(possesses(own.publicKey, shown, joiner, inviter))
  assert.ok(!possesses(other.publicKey, shown, joiner, inviter))
  assert.ok(!possesses(own.publicKey, shown, inviter, joiner))
  assert.ok(!possesses(own.publicKey, new Uint8Array(0), joiner, inviter))
  assert.ok(!possesses(own.publicKey, new Uint8Array(300), joiner, inviter))
})
