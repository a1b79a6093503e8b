import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  cidr6HasHostBits,
  formatAddress6,
  formatCidr6,
  onLinkLength,
  overlayAddress6,
  parseAddress6,
  parseCidr6,
  subnet6Problem,
} from '../../../state/address6.ts'
import { valueProblem } from '../../../state/kinds.ts'
import { meshValue } from './samples.ts'

test('a prefix has one form, and text with host bits is told', () => {
  const cases: [string, string, boolean][] = [
    ['fd00:77::/64', 'fd00:77::/64', false],
    ['FD00:0077:0::0/64', 'fd00:77::/64', false],
    ['fd00:77::5/64', 'fd00:77::/64', true],
    ['fd00:77:0:0:8000::/65', 'fd00:77:0:0:8000::/65', false],
    ['fd00:77:0:0:8000::/64', 'fd00:77::/64', true],
    ['::/0', '::/0', false],
    ['2001:db8::1/128', '2001:db8::1/128', false],
    ['2001:db8::1/127', '2001:db8::/127', true],
  ]
  for (const [text, form, hostBits] of cases) {
    assert.equal(formatCidr6(parseCidr6(text)!), form, text)
    assert.equal(cidr6HasHostBits(text), hostBits, text)
  }
  for (const text of [
    'fd00::',
    'fd00::/',
    'fd00::/129',
    'fd00::/064',
    'fd00::/6 ',
    '10.0.0.0/8',
    '/64',
    ':::/1',
    '',
  ]) {
    assert.equal(parseCidr6(text), undefined, text)
    assert.equal(cidr6HasHostBits(text), false, text)
  }
})

test('an overlay takes unicast prefixes with room for an IPv4 address', () => {
  for (const text of ['fd00:77::/64', 'fd12:3456:789a::/48', '2001:db8:1:2:3:4::/96', '2001:db8::/32'])
    assert.equal(subnet6Problem(parseCidr6(text)!), undefined, text)
  for (const [text, problem] of [
    ['fd00:77::/97', /last 32 bits; take a prefix from \/32 to \/96/],
    ['fd00:77::a4d:5/128', /last 32 bits/],
    ['fd00::/8', /from \/32 to \/96/],
    ['2000::/3', /from \/32 to \/96/],
    ['ff05::/64', /unique local/],
    ['fe80::/64', /unique local/],
    ['::/64', /unique local/],
    ['::ffff:0:0/96', /unique local/],
    ['::/0', /unique local/],
    ['fc00::/6', /unique local/],
    ['4000::/64', /unique local/],
  ] as const)
    assert.match(subnet6Problem(parseCidr6(text)!) ?? 'none', problem, text)
})

test('an overlay address is the prefix and the IPv4 address, on an interface prefix that stock clients take', () => {
  for (const [text, expected, length] of [
    ['fd00:77::/64', 'fd00:77::a4d:105', 64],
    ['fd00:77::/48', 'fd00:77::a4d:105', 64],
    ['2001:db8:1:2:3:4::/96', '2001:db8:1:2:3:4:a4d:105', 96],
    ['2001:db8:1:2:3::/80', '2001:db8:1:2:3:0:a4d:105', 80],
  ] as const) {
    const subnet6 = parseCidr6(text)!
    const address = overlayAddress6(subnet6, 0x0a4d0105)
    assert.equal(formatAddress6(address), expected)
    assert.deepEqual(parseAddress6(expected), address)
    assert.equal(onLinkLength(subnet6), length)
  }
  assert.equal(formatAddress6(overlayAddress6(parseCidr6('fd00::/64')!, 0xcb007101 | 0)), 'fd00::cb00:7101')
})

test('the record of a mesh has its IPv6 prefix in the one form, or none', () => {
  const value = meshValue()
  const problem = (subnet6: string | undefined) =>
    valueProblem('mesh', 'ab'.repeat(16), { ...value, subnet6 })
  assert.equal(problem('fd00:77::/64'), undefined)
  assert.match(problem('fd00:77:0::/64') ?? '', /not as fd00:77::\/64 is written/)
  assert.match(problem('fd00:77::5/64') ?? '', /not as/)
  assert.match(problem('ff02::/64') ?? '', /unique local/)
  assert.match(problem('fd00:77::/120') ?? '', /last 32 bits/)
  assert.match(problem('fd00:::/64') ?? '', /no IPv6 prefix/)
})
