import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  cidrContains,
  cidrHasHostBits,
  cidrLast,
  cidrMask,
  cidrOverlaps,
  cidrSize,
  compareCidr,
  formatCidr,
  formatIpv4,
  parseCidr,
  parseIpv4,
} from '../../../state/address.ts'

const u32 = fc.integer({ min: 0, max: 0xffffffff })
const length = fc.integer({ min: 0, max: 32 })

test('an address survives its text form', () => {
  fc.assert(fc.property(u32, address => assert.equal(parseIpv4(formatIpv4(address)), address)))
})

test('only strict dotted-quad text is an address', () => {
  const bad = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.-4',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '0x1.2.3.4',
  ]
  for (const text of bad) assert.equal(parseIpv4(text), undefined, JSON.stringify(text))
  assert.equal(parseIpv4('255.255.255.255'), 0xffffffff)
  assert.equal(parseIpv4('0.0.0.0'), 0)
})

test('only strict text is a prefix', () => {
  for (const text of [
    '',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/8 ',
    '10.0.0.0/-1',
    '/8',
  ]) {
    assert.equal(parseCidr(text), undefined, JSON.stringify(text))
    assert.equal(cidrHasHostBits(text), false)
  }
})

test('a prefix has one form, and host bits are told apart', () => {
  assert.equal(formatCidr(parseCidr('10.77.3.9/16')!), '10.77.0.0/16')
  assert.equal(cidrHasHostBits('10.77.3.9/16'), true)
  assert.equal(cidrHasHostBits('10.77.0.0/16'), false)
  assert.equal(cidrHasHostBits('10.77.3.9/32'), false)
  assert.equal(cidrHasHostBits('0.0.0.0/0'), false)
})

test('masks, sizes and bounds', () => {
  assert.equal(cidrMask(0), 0)
  assert.equal(cidrMask(32), 0xffffffff)
  assert.equal(cidrMask(16), 0xffff0000)
  assert.equal(cidrSize({ address: 0, length: 0 }), 2 ** 32)
  assert.equal(formatIpv4(cidrLast(parseCidr('10.77.0.0/16')!)), '10.77.255.255')
})

test('containment and overlap agree with interval arithmetic', () => {
  const cidr = fc.tuple(u32, length).map(([a, l]) => ({ address: (a & cidrMask(l)) >>> 0, length: l }))
  const last = (c: { address: number; length: number }) => c.address + cidrSize(c) - 1
  fc.assert(
    fc.property(cidr, cidr, u32, (a, b, address) => {
      assert.equal(cidrContains(a, address), address >= a.address && address <= last(a))
      assert.equal(cidrContains(a, cidrLast(a)), true)
      assert.equal(cidrOverlaps(a, b), a.address <= last(b) && b.address <= last(a))
      assert.equal(Math.sign(compareCidr(a, b)) + Math.sign(compareCidr(b, a)), 0)
    }),
  )
})
