// A client that was given a new certificate in one half of a mesh, and changed in the other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CredentialChanges } from '../../../state/credential-changes.ts'
import type { ClientValue } from '../../../state/kinds.ts'
import { Views } from '../../../state/views.ts'
import {
  type Bench,
  clientId,
  clientOp,
  exchange,
  leaseOp,
  revocationOp,
  START,
  serial,
  supersedingOp,
  twoHalves,
} from './samples.ts'

async function clientInHalves() {
  const { a, b } = await twoHalves()
  await a.replica.write([clientOp(1), leaseOp('10.77.0.1', 1)])
  await exchange(a.replica, b.replica)
  const views = [new Views(a.replica), new Views(b.replica)] as const
  return {
    a,
    b,
    views,
    /** The first half gives it another certificate. */
    rekey: (old: number, by: number) =>
      a.replica.write([
        {
          kind: 'client',
          id: clientId(1),
          value: { ...views[0].client(clientId(1))!.value, serial: serial(by) },
        },
        supersedingOp(old, by, 1),
      ]),
    /** The second half changes something else, later. */
    change: async (change: Partial<ClientValue>) => {
      b.time = a.time + 1000
      await b.replica.write([
        { kind: 'client', id: clientId(1), value: { ...views[1].client(clientId(1))!.value, ...change } },
      ])
    },
    meet: () => exchange(a.replica, b.replica),
    reasons: (number: number) =>
      views.map(view => {
        const credential = view.credential(serial(number))
        return credential.usable ? 'usable' : credential.reason
      }),
  }
}

test('has the new certificate and the change, on both sides, and so has what is written next', async () => {
  const { b, views, rekey, change, meet, reasons } = await clientInHalves()
  await rekey(1, 9)
  await change({ tags: { role: 'front' } })
  await meet()
  assert.equal(b.replica.get('client', clientId(1))!.serial, serial(1), 'the later write names the old one')
  for (const view of views) {
    const { value } = view.client(clientId(1))!
    assert.deepEqual([value.serial, value.tags], [serial(9), { role: 'front' }])
    assert.equal(view.routes().filter(({ via }) => via.kind === 'client').length, 1)
  }
  assert.deepEqual([reasons(1), reasons(9)], [Array(2).fill('superseded'), Array(2).fill('usable')])
  await change({ enabled: false })
  await meet()
  assert.equal(b.replica.get('client', clientId(1))!.serial, serial(9))
  assert.deepEqual(reasons(9), ['disabled', 'disabled'])
})

test('has the last of several certificates', async () => {
  const { rekey, change, meet, reasons } = await clientInHalves()
  for (const at of [8, 9, 10]) await rekey(at === 8 ? 1 : at - 1, at)
  await change({})
  await meet()
  assert.deepEqual(
    [1, 8, 9, 10].map(number => reasons(number)[0]),
    ['superseded', 'superseded', 'superseded', 'usable'],
  )
  assert.deepEqual(reasons(10), ['usable', 'usable'])
})

test('is out for good once the new certificate is revoked, whoever changes it', async () => {
  const { a, rekey, change, meet, reasons } = await clientInHalves()
  await rekey(1, 9)
  await change({})
  await meet()
  await a.replica.write([{ ...revocationOp(9), id: serial(9) }])
  await change({ enabled: true })
  await meet()
  assert.deepEqual(reasons(9), ['revoked', 'revoked'])
})

test('has its own certificate where another half gave it one as well', async () => {
  const { b, views, rekey, change, meet, reasons } = await clientInHalves()
  await rekey(1, 9)
  await b.replica.write([supersedingOp(1, 10)])
  await change({ serial: serial(10) })
  await meet()
  assert.equal(views[0].client(clientId(1))!.value.serial, serial(10))
  assert.deepEqual([reasons(9), reasons(10)], [Array(2).fill('unknown'), Array(2).fill('usable')])
})

test('one that goes round in a circle, or is said of another client, leads nowhere', async () => {
  const { a, views, meet, reasons } = await clientInHalves()
  await a.replica.write([clientOp(2), leaseOp('10.77.0.2', 2)])
  await a.replica.write([supersedingOp(1, 8), supersedingOp(8, 1, 1), supersedingOp(2, 11, 1)])
  await meet()
  for (const view of views) assert.equal(view.standing(view.client(clientId(1))!).usable, false)
  assert.deepEqual([reasons(2), reasons(11)], [Array(2).fill('superseded'), Array(2).fill('unknown')])
})

test("another client's certificate stays that one's, though a revocation says it is this one's now", async () => {
  const { a, views, meet } = await clientInHalves()
  await a.replica.write([clientOp(2, { createdAt: START + 5 }), leaseOp('10.77.0.2', 2)])
  await a.replica.write([supersedingOp(1, 2)])
  await meet()
  for (const view of views) {
    const credential = view.credential(serial(2))
    assert.ok(credential.usable)
    assert.equal(credential.client.id, clientId(2))
  }
})

/** Of one client, whether what changes next concerns the credential of this certificate. */
function concerned({ replica }: Bench, views: Views, client: number, number: number): { told: boolean } {
  const seen = { told: false }
  replica.onChange(({ changes }) => {
    const changed = new CredentialChanges(changes, id => views.client(id)?.value.serial)
    seen.told ||= changed.concern(clientId(client), serial(number))
  })
  return seen
}

for (const [what, here, there] of [
  ['of one client', 1, 1],
  ['of one client and another', 1, 2],
  ['of another client and one', 2, 1],
] as const) {
  test(`where two halves say different successors, ${what}, one stays, and whose went is concerned`, async () => {
    const { a, b, views, meet } = await clientInHalves()
    await a.replica.write([clientOp(2), leaseOp('10.77.0.2', 2)])
    await meet()
    await a.replica.write([supersedingOp(1, 8, here)])
    await b.replica.write([supersedingOp(1, 9, there)])
    const before = views.map(view => view.client(clientId(1))!.value.serial)
    const numbers = [here === 1 ? 8 : 1, there === 1 ? 9 : 1] as const
    assert.deepEqual(before, numbers.map(serial))
    const told = [concerned(a, views[0], 1, numbers[0]), concerned(b, views[1], 1, numbers[1])]
    await meet()
    for (const [at, view] of views.entries()) {
      const now = view.client(clientId(1))!.value.serial
      if (now !== before[at]) assert.ok(told[at].told)
      const fresh = new Views([a, b][at].replica)
      for (const number of [1, 8, 9])
        assert.deepEqual(view.credential(serial(number)), fresh.credential(serial(number)))
    }
    assert.equal(views[0].client(clientId(1))!.value.serial, views[1].client(clientId(1))!.value.serial)
  })
}

test('of two clients that revocations lead to one certificate the older has it, and the other is concerned', async () => {
  const { a, views, meet } = await clientInHalves()
  await a.replica.write([clientOp(2, { createdAt: START + 5 }), leaseOp('10.77.0.2', 2), supersedingOp(2, 9)])
  await meet()
  const bearer = (view: Views) => {
    const credential = view.credential(serial(9))
    return credential.usable ? credential.client.id : undefined
  }
  assert.deepEqual(views.map(bearer), Array(2).fill(clientId(2)))
  const told = concerned(a, views[0], 2, 9)
  await a.replica.write([supersedingOp(1, 9)])
  await meet()
  assert.deepEqual(views.map(bearer), Array(2).fill(clientId(1)))
  assert.ok(told.told)
})
