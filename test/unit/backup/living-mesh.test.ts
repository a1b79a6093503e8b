// The founder's backup, taken before any other controller joined, is restored into the mesh that has lived on since.
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import type { Client } from '../../../node/service.ts'
import { until, World } from './world.ts'

const NAMES = ['alpha', 'beta', 'gamma']

test('an old backup in a living mesh brings nothing back and takes nothing away', async () => {
  await using world = new World()
  const api = (name: string) => world.api(name)
  const pack = async (controller: string, name: string) => {
    const { content } = await api(controller).addClient({ name })
    writeFileSync(world.path(`${name}.ovpn`), content)
  }
  await world.init('alpha')
  let alpha = await world.up('alpha')
  assert.ok(alpha.ready)
  await pack('alpha', 'old')
  await pack('alpha', 'lost')
  await api('alpha').addRoute({ cidr: '192.168.9.0/24', via: 'client:old' })
  await world.backup('alpha', 'alpha.backup')

  // The mesh lives on.
  for (const name of NAMES.slice(1)) {
    await world.join(name, 'alpha')
    assert.ok((await world.up(name)).ready)
  }
  const equal = () =>
    until(
      () => Promise.all(NAMES.map(name => api(name).status())),
      all =>
        new Set(all.map(({ stateHash }) => stateHash)).size === 1 &&
        all.every(({ controllers }) => controllers.filter(({ connected }) => connected).length >= 2),
    )
  await equal()
  await pack('alpha', 'since')
  await pack('beta', 'later')
  await api('alpha').revokeClient('lost')
  await api('beta').removeRoute('192.168.9.0/24')
  await equal()
  const before = await api('beta').clients()

  // The founder's machine is lost, and comes back from its backup.
  await world.kill(alpha.child)
  rmSync(world.path('alpha'), { recursive: true })
  assert.match(await world.restore('alpha', 'alpha.backup'), /alpha of mesh prod is in .*, as of 20/)
  alpha = await world.up('alpha')
  assert.ok(alpha.ready, alpha.log.join('\n'))
  assert.match(alpha.log.join('\n'), /other controllers have told what changed since/)
  await equal()
  const plain = (clients: Client[]) => clients.map(({ session: _, packStale: __, ...client }) => client)
  for (const name of NAMES) assert.deepEqual(plain(await api(name).clients()), plain(before), name)
  const routes = await api('alpha').routes()
  assert.equal(
    routes.find(({ cidr }) => cidr === '192.168.9.0/24'),
    undefined,
  )
  assert.deepEqual(await api('alpha').desiredState(), await api('gamma').desiredState())
  const { conflicts, warnings } = await api('alpha').status()
  assert.deepEqual([conflicts, warnings], [[], []])

  // Credentials given out since are good at it, a revoked one is not, and nobody's address is given out again.
  const probe = (name: string) =>
    world.cli('alpha', 'probe', world.path(`${name}.ovpn`), '--ping', '10.77.0.1', '--count', '1')
  const good = await probe('since')
  assert.equal(good.code, 0, good.stderr)
  assert.match((await probe('lost')).stderr, /refused: .*revoked/)
  await pack('alpha', 'new')
  const taken = (await api('alpha').clients()).flatMap(({ revoked, address }) => (revoked ? [] : [address]))
  assert.equal(taken.length, 4)
  assert.equal(new Set(taken).size, taken.length)

  // A controller that was taken out since is told so.
  await world.backup('alpha', 'late.backup')
  await world.kill(alpha.child)
  await api('beta').removeController('alpha')
  rmSync(world.path('alpha'), { recursive: true })
  await world.restore('alpha', 'late.backup')
  alpha = await world.up('alpha')
  await until(
    async () => alpha.log.join('\n'),
    log => /controller alpha was removed from the mesh by beta/.test(log),
  )
})
