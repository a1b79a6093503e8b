// The border to C: nothing outside an arena is ever given away.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { test } from 'node:test'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { keyLength, newCipher, open, seal } from '../../../node/switch/sys/cipher.ts'
import { SysError } from '../../../node/switch/sys/error.ts'
import { requestSlice } from '../../../node/switch/sys/scheduling.ts'
import { SendBatch } from '../../../node/switch/sys/send-batch.ts'

const outside = (error: unknown): boolean => error instanceof SysError && error.code === 'ERANGE_ARENA'

test('an arena hands out addresses of what lies inside only', () => {
  const arena = new Arena(100)
  assert.equal(arena.size, 104)
  const base = arena.address(0, 104)
  assert.equal(arena.address(104, 0), base + 104)
  assert.ok(base < 2 ** 31, 'addresses are small integers, so that passing one makes no garbage')
  for (const [offset, length] of [
    [0, 105],
    [104, 1],
    [-1, 2],
    [0, -1],
    [Number.NaN, 1],
    [0, Number.NaN],
    [2 ** 40, 1],
    [Number.POSITIVE_INFINITY, 1],
  ]) {
    assert.throws(() => arena.address(offset, length), outside, `${offset} + ${length}`)
  }
  for (const size of [0, -1, 1.5, Number.NaN]) assert.throws(() => new Arena(size), outside)
})

test('arenas are apart, zeroed, and one memory in all views', () => {
  const [a, b] = [new Arena(4096), new Arena(4096)]
  assert.ok(a.bytes.every(byte => byte === 0))
  a.bytes.fill(0xff)
  assert.ok(b.bytes.every(byte => byte === 0))
  assert.equal(a.words[0], -1)
  assert.equal(a.view.getUint16(4094), 0xffff)
})

test('seal and open refuse what does not lie inside, before C sees it', () => {
  const [nonces, plain, out] = [new Arena(16), new Arena(64), new Arena(128)]
  const key = new Uint8Array(keyLength('AES-256-GCM'))
  const sealer = newCipher('AES-256-GCM', key, true)
  assert.ok(seal(sealer, nonces, 0, plain, 0, 64, out, 0, 8, 24, 8))
  assert.throws(() => seal(sealer, nonces, 8, plain, 0, 64, out, 0, 8, 24, 8), outside)
  assert.throws(() => seal(sealer, nonces, 0, plain, 1, 64, out, 0, 8, 24, 8), outside)
  assert.throws(() => seal(sealer, nonces, 0, plain, 0, 64, out, 0, 8, 65, 8), outside)
  assert.throws(() => seal(sealer, nonces, 0, plain, 0, 64, out, 0, 8, 24, 113), outside)
  const opener = newCipher('AES-256-GCM', key, false)
  assert.ok(open(opener, nonces, 0, out, 0, 8, 24, 64, 8, plain, 0))
  assert.throws(() => open(opener, nonces, 0, out, 0, 8, 24, 65, 8, plain, 0), outside)
  assert.throws(() => open(opener, nonces, 0, out, 0, 129, 24, 64, 8, plain, 0), outside)
  assert.throws(() => newCipher('AES-256-GCM', new Uint8Array(31), true), SysError)
})

test('a send batch takes no more than it has room for', () => {
  const [names, data] = [new Arena(72), new Arena(64)]
  const batch = new SendBatch(1, 2)
  batch.begin(names, 0, 16, names, 32, 0, 0)
  assert.equal(batch.fits(1), false)
  batch.add(data, 0, 64)
  assert.throws(() => batch.add(data, 1, 64), outside)
  assert.throws(() => batch.begin(names, 0, 16, names, 32, 0, 0), outside)
})

test('a thread that asks for short time slices has them where the kernel knows such, and its priority stays', () => {
  const told = () => readFileSync('/proc/thread-self/sched', 'utf8')
  const priority = () => /^prio .*: *(\d+)$/m.exec(told())?.[1]
  const slice = () => /^se\.slice .*: *(\d+)$/m.exec(told())?.[1]
  const [before, usual] = [priority(), slice()]
  assert.equal(requestSlice(200_000), true)
  assert.equal(priority(), before)
  const [major, minor] = release().split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 12)) assert.match(told(), /^se\.slice .*: *200000$/m)
  assert.equal(requestSlice(0), true)
  assert.equal(slice(), usual)
})
