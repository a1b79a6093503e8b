// What changes of the records are said to concern, against the credentials themselves: whoever is let in, and is not
// concerned, must stand as before.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CredentialChanges } from '../../../state/credential-changes.ts'
import type { ClientId } from '../../../state/kinds.ts'
import { Views } from '../../../state/views.ts'
import type { Op } from '../../../state/writing.ts'
import {
  clientId,
  clientOp,
  controllerOp,
  identity,
  leaseOp,
  revocationOp,
  START,
  serial,
  settingOp,
  supersedingOp,
  twoHalves,
} from '../../unit/state/samples.ts'
import { live, lives } from './lives.ts'

const CLIENTS = 4
const index = fc.integer({ min: 1, max: CLIENTS })
/** Certificates: those the clients begin with, and as many after them. */
const number = fc.integer({ min: 1, max: 2 * CLIENTS })
const address = (at: number) => `10.77.0.${at}`

const change: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(index, index).map(([at, by]) => leaseOp(address(at), by)) },
  index.map(at => ({ kind: 'lease' as const, id: address(at), value: null })),
  {
    weight: 6,
    arbitrary: fc
      .tuple(index, index, index, fc.boolean(), fc.integer({ min: 0, max: 1 }), fc.nat(3))
      .map(([at, other, place, enabled, issuer, age]) =>
        clientOp(at, {
          serial: serial(other),
          address: address(place),
          enabled,
          issuer: identity(issuer).id,
          createdAt: START + age,
        }),
      ),
  },
  index.map(at => ({ kind: 'client' as const, id: clientId(at), value: null })),
  index.map(at => revocationOp(at)),
  { weight: 2, arbitrary: fc.tuple(number, number, index).map(([at, by, of]) => supersedingOp(at, by, of)) },
  fc.boolean().map(removed => controllerOp(1, removed ? { removedAt: START } : {})),
  fc.nat(9).map(value => settingOp('some', value)),
)
const steps = lives(change)

test('who is let in and not concerned by a change stands as before it, on both halves of a mesh', async () => {
  let spared = 0
  let concerned = 0
  await fc.assert(
    fc.asyncProperty(steps, async all => {
      const halves = await twoHalves()
      const { a, b } = halves
      for (const { replica } of [a, b]) {
        const views = new Views(replica)
        const standing = (views: Views) =>
          new Map(
            Array.from({ length: 2 * CLIENTS }, (_, at) => {
              const credential = views.credential(serial(at + 1))
              return [
                serial(at + 1),
                credential.usable ? `${credential.client.id} ${credential.address}` : '',
              ]
            }),
          )
        let before = standing(views)
        replica.onChange(({ changes }) => {
          const changed = new CredentialChanges(changes, id => views.client(id)?.value.serial)
          const after = standing(views)
          const fresh = new Views(replica)
          assert.deepEqual(after, standing(fresh))
          fresh.close()
          for (const [number, told] of before) {
            if (told === '') continue
            const isConcerned = changed.concern(told.split(' ')[0] as ClientId, number)
            if (isConcerned) concerned++
            else spared++
            if (!isConcerned) assert.equal(after.get(number), told)
            if (changed.isEmpty) assert.equal(isConcerned, false)
          }
          before = after
        })
      }
      await a.replica.write(Array.from({ length: CLIENTS }, (_, at) => clientOp(at + 1)))
      await a.replica.write(Array.from({ length: CLIENTS }, (_, at) => leaseOp(address(at + 1), at + 1)))
      await live(halves, all)
    }),
    { numRuns: 300 },
  )
  assert.ok(spared > 500 && concerned > 500, `spared ${spared}, concerned ${concerned}`)
})
