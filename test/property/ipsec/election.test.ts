// Controllers that know the same choose the same, whatever they know.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { candidates, carrierOf, Dialling, type Terminator } from '../../../node/ipsec/election.ts'
import { openSecret, sealSecret } from '../../../node/ipsec/seal.ts'
import { identity } from '../../unit/state/samples.ts'

const IDS = [0, 1, 2, 3, 4].map(index => identity(index).id)
const present: fc.Arbitrary<Terminator[]> = fc
  .subarray(IDS)
  .chain(ids =>
    fc.tuple(
      ...ids.map(id =>
        fc
          .record({ draining: fc.boolean(), since: fc.option(fc.nat(9), { nil: undefined }) })
          .map(each => ({ id, ...each })),
      ),
    ),
  )
const attachment = fc.record({
  id: fc.stringMatching(/^[0-9a-f]{16}$/),
  initiate: fc.boolean(),
  controllers: fc.shuffledSubarray(IDS),
})

test('the order in which controllers are known does not matter', () => {
  fc.assert(
    fc.property(attachment, present, fc.nat(), (each, known, turn) => {
      const other = [...known.slice(turn % (known.length + 1)), ...known.slice(0, turn % (known.length + 1))]
      assert.equal(carrierOf(each, other), carrierOf(each, known))
      assert.deepEqual(candidates(each, other), candidates(each, known))
    }),
  )
})

test('what is up somewhere has a carrier, where it is up; what is up nowhere has none', () => {
  fc.assert(
    fc.property(attachment, present, (each, known) => {
      const carrier = carrierOf(each, known)
      const up = known.filter(({ since }) => since !== undefined).map(({ id }) => id)
      assert.equal(carrier === undefined, up.length === 0)
      if (carrier !== undefined) assert.ok(up.includes(carrier))
    }),
  )
})

test('of controllers that know the same, one dials at most; one does where someone may and nobody has it up', () => {
  fc.assert(
    fc.property(attachment, present, (each, known) => {
      const dialling = known.filter(({ id }) => new Dialling(id).decide(each, known, 0).dial)
      assert.ok(dialling.length <= 1)
      const isDown = carrierOf(each, known) === undefined
      if (each.initiate && isDown && candidates(each, known).length > 0) assert.equal(dialling.length, 1)
    }),
  )
})

test('a secret opens for its owner under its mesh, and for nobody else', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 512 })
  const key = fc.uint8Array({ minLength: 256, maxLength: 256 })
  const random = (size: number) => crypto.getRandomValues(new Uint8Array(size))
  fc.assert(
    fc.property(key, key, bytes, fc.nat(), (mesh, other, secret, at) => {
      fc.pre(Buffer.compare(mesh, other) !== 0)
      const sealed = sealSecret(mesh, 'owner', secret, random)
      assert.deepEqual(openSecret(mesh, 'owner', sealed), Buffer.from(secret))
      assert.equal(openSecret(mesh, 'another', sealed), undefined)
      assert.equal(openSecret(other, 'owner', sealed), undefined)
      const broken = Buffer.from(sealed, 'base64')
      broken[at % broken.length] ^= 1
      assert.equal(openSecret(mesh, 'owner', broken.toString('base64')), undefined)
    }),
    { numRuns: 50 },
  )
  for (const bad of ['', 'AAAA', 'not base64 at all', 'A'.repeat(38)])
    assert.equal(openSecret(new Uint8Array(256), 'owner', bad), undefined)
})
