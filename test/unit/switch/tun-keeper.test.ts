// A TUN interface that somebody renames, at the pace at which the loop looks at it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tun } from '../../../node/switch/tun.ts'
import { TunKeeper } from '../../../node/switch/tun-keeper.ts'

const TICK_MS = 250
const AGAIN = /^it was renamed vpn0, again and again; find out what does that/

function start({ renames = true } = {}) {
  const told: string[] = []
  const world = {
    told,
    now: 0,
    name: 'overmesh0',
    isOpen: true,
    /** Whether whatever renames it does so as soon as it can. */
    isBusy: false,
    /** For so many ms. */
    pass(ms: number): void {
      for (let at = 0; at < ms; at += TICK_MS) {
        world.now += TICK_MS
        if (world.isBusy && world.isOpen) world.name = 'vpn0'
        keeper.tick(world.now)
      }
    },
  }
  const tun = {
    fd: 3,
    isGone: false,
    problem6: undefined,
    index: 7,
    displaced: () => (world.name === 'overmesh0' ? undefined : `it was renamed ${world.name}`),
    rename() {
      if (renames) world.name = 'overmesh0'
      return renames
    },
    close() {
      world.isOpen = false
    },
    remake() {
      world.isOpen = true
      world.name = 'overmesh0'
      tun.index++
    },
  }
  const keeper = new TunKeeper(tun as unknown as Tun, { add() {}, remove() {} }, 1, {
    tunGone: reason => told.push(reason),
    tunBack: ({ index }) => told.push(`back as ${index}`),
  })
  return world
}

test('one that is renamed has its name back at once, and is told to have been away', () => {
  const world = start()
  world.pass(1000)
  world.name = 'vpn0'
  world.pass(TICK_MS)
  assert.equal(world.name, 'overmesh0')
  world.pass(10_000)
  assert.deepEqual(world.told, ['it was renamed vpn0', 'back as 7'])
})

test('one that cannot have it back is made anew', () => {
  const world = start({ renames: false })
  world.pass(1000)
  world.name = 'vpn0'
  world.pass(TICK_MS)
  assert.equal(world.isOpen, false)
  world.pass(10_000)
  assert.deepEqual(world.told, ['it was renamed vpn0', 'back as 8'])
})

for (const [how, renames] of [
  ['it can have its name back', true],
  ['it cannot have its name back', false],
] as const) {
  test(`where something renames it again and again it is away for longer and longer:  ${how}`, () => {
    const world = start({ renames })
    world.isBusy = true
    world.pass(5000)
    assert.equal(world.isOpen, false, 'nothing passes while its name is not ours')
    assert.match(world.told.at(-1) ?? '', AGAIN)
    world.pass(600_000)
    const before = world.told.length
    world.pass(600_000)
    const often = world.told.slice(before)
    assert.ok(often.length <= 2 * 11, `${often.length} tellings in ten minutes`)
    for (const [index, words] of often.entries()) {
      if (words.startsWith('back')) assert.ok(index + 1 === often.length || AGAIN.test(often[index + 1]))
    }
    // It ends: all is forgotten after a while.
    world.isBusy = false
    world.pass(200_000)
    assert.equal(world.isOpen, true)
    world.name = 'vpn0'
    world.pass(TICK_MS)
    assert.equal(world.told.filter(words => words === 'it was renamed vpn0').length, 4)
  })
}
