// What operators do to one client in two halves of a mesh, or where a controller does not know yet that it was removed.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Clients } from '../../../node/clients.ts'
import { Home } from '../../../node/home.ts'
import { exchange } from '../state/samples.ts'
import { startInviter } from './world.ts'

async function twoControllers(t: TestContext) {
  const inviter = await startInviter(t)
  const { dataDir } = await inviter.join(await inviter.token())
  const there = await Home.open(dataDir)
  t.after(() => there.close())
  const here = inviter.home
  const meet = () => exchange(here.replica, there.replica)
  await meet()
  const clients = { here: new Clients(here), there: new Clients(there) }
  /** So that the clock tells what comes next from what was before. */
  const later = () => new Promise(resolve => setTimeout(resolve, 5))
  return { inviter, here, there, clients, meet, later }
}

test('a client that one half rekeyed and the other disabled is disabled, and enabled again has its new certificate', async t => {
  const { here, there, clients, meet, later } = await twoControllers(t)
  const web = await clients.here.add({ name: 'web' })
  await meet()
  const rekeyed = await clients.here.rekey('web')
  await later()
  await clients.there.setEnabled('web', false)
  await meet()
  for (const [home, each] of [
    [here, clients.here],
    [there, clients.there],
  ] as const) {
    const client = each.get('web')
    assert.equal(each.isRevoked(client), false)
    assert.deepEqual([client.value.serial, client.value.enabled], [rekeyed.value.serial, false])
    const old = home.views.credential(web.value.serial)
    assert.equal(old.usable ? '' : old.reason, 'superseded')
  }
  await later()
  await clients.there.setEnabled('web', true)
  await meet()
  for (const home of [here, there]) {
    const credential = home.views.credential(rekeyed.value.serial)
    assert.ok(credential.usable)
    assert.deepEqual(home.views.conflicts(), [])
  }
  assert.match((await clients.here.secret(rekeyed)).privateKey, /PRIVATE KEY/)
  await later()
  await clients.there.rekey('web')
  await clients.here.revoke('web')
  await meet()
  assert.equal(
    clients.there.isRevoked(clients.there.get('web')) ||
      !there.views.standing(clients.there.get('web')).usable,
    true,
  )
})

for (const what of ['revoked once more', 'added again'] as const) {
  test(`the address of a client that a removed controller revoked is free once it is ${what}`, async t => {
    const { inviter, here, there, clients, meet, later } = await twoControllers(t)
    const web = await clients.here.add({ name: 'web' })
    await meet()
    await inviter.membership.remove('beta')
    await later()
    await clients.there.revoke('web')
    await here.replica.absorb(there.replica.missingFor(here.replica.vector())!)
    assert.equal(clients.here.isRevoked(clients.here.get('web')), true)
    assert.equal(here.replica.get('lease', web.value.address)?.holder, web.id)
    if (what === 'added again') await clients.here.add({ name: 'web' })
    else {
      await clients.here.revoke('web')
      await clients.here.add({ name: 'db', ip: web.value.address })
    }
    assert.notEqual(here.replica.get('lease', web.value.address)?.holder, web.id)
  })
}
