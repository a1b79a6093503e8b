// Prefixes that are kept until a change concerns them, against those that are derived anew after each change.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { routeId } from '../../../state/kinds.ts'
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

const CLIENTS = 5
const index = fc.integer({ min: 1, max: CLIENTS })
/** Certificates: those the clients begin with, and as many after them. */
const number = fc.integer({ min: 1, max: 2 * CLIENTS })
const address = (at: number) => `10.77.0.${at}`
/** Most clients have none. */
const subnetsOf = (at: number, kind: number): string[] =>
  kind === 0 ? [`192.168.${at}.0/24`] : kind === 1 ? [`fd00:${at}::/64`] : []

const routeOp = (at: number, removed: boolean): Op => {
  const [cidr, via] = [`172.16.${at}.0/24`, { kind: 'client', id: clientId(at) } as const]
  return {
    kind: 'route',
    id: routeId({ cidr, via }),
    value: removed ? null : { cidr, via, metric: 0, createdAt: START },
  }
}

const change: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(index, index).map(([at, by]) => leaseOp(address(at), by)) },
  index.map(at => ({ kind: 'lease' as const, id: address(at), value: null })),
  // Of a controller, whose own address is a prefix.
  fc.tuple(fc.nat(1), fc.boolean()).map(([at, released]) => ({
    kind: 'lease' as const,
    id: `10.77.255.${at + 1}`,
    value: released ? null : { holder: identity(at).id, holderKind: 'controller' as const },
  })),
  {
    weight: 6,
    arbitrary: fc
      .tuple(index, index, index, fc.boolean(), fc.nat(1), fc.nat(3), fc.nat(5))
      .map(([at, other, place, enabled, issuer, age, kind]) =>
        clientOp(at, {
          serial: serial(other),
          address: address(place),
          subnets: subnetsOf(at, kind),
          enabled,
          issuer: identity(issuer).id,
          createdAt: START + age,
        }),
      ),
  },
  index.map(at => ({ kind: 'client' as const, id: clientId(at), value: null })),
  index.map(at => revocationOp(at)),
  { weight: 2, arbitrary: fc.tuple(number, number, index).map(([at, by, of]) => supersedingOp(at, by, of)) },
  { weight: 2, arbitrary: fc.tuple(index, fc.boolean()).map(([at, removed]) => routeOp(at, removed)) },
  fc.boolean().map(removed => controllerOp(1, removed ? { removedAt: START } : {})),
  fc.nat(9).map(value => settingOp('some', value)),
)
const steps = lives(change)

/** The prefixes, each with whether its via is good. */
function told(views: Views): string {
  const isGood = (id: string): boolean => {
    const client = views.client(id)
    return client !== undefined && views.standing(client).usable
  }
  return JSON.stringify(
    [...views.prefixes(), ...views.routes6()].map(each => [
      each,
      each.via.kind === 'client' && isGood(each.via.id),
    ]),
  )
}

test('prefixes, and which of their vias are good, are those of the records after every change', async () => {
  let kept = 0
  let renewed = 0
  await fc.assert(
    fc.asyncProperty(steps, async all => {
      const halves = await twoHalves()
      const { a, b } = halves
      for (const { replica } of [a, b]) {
        const views = new Views(replica)
        let before = { version: views.prefixesVersion, told: told(views) }
        replica.onChange(() => {
          const now = { version: views.prefixesVersion, told: told(views) }
          const fresh = new Views(replica)
          assert.equal(now.told, told(fresh))
          fresh.close()
          if (now.version === before.version) {
            kept++
            assert.equal(now.told, before.told)
          } else renewed++
          before = now
        })
      }
      await a.replica.write(
        Array.from({ length: CLIENTS }, (_, at) => clientOp(at + 1, { subnets: subnetsOf(at + 1, at) })),
      )
      await a.replica.write(Array.from({ length: CLIENTS }, (_, at) => leaseOp(address(at + 1), at + 1)))
      await a.replica.write([routeOp(4, false)])
      await live(halves, all)
    }),
    { numRuns: 300 },
  )
  assert.ok(kept > 100 && renewed > 100, `kept ${kept}, renewed ${renewed}`)
})
