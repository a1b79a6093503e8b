import assert from 'node:assert/strict'
import { isIPv6, SocketAddress } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatHostPort, formatIpv6, parseHostPort, parseIpv6 } from '../../../node/net/ip.ts'

// Half of the groups zero, or there would be nothing to elide.
const groups = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff), fc.nat(0xf)), { minLength: 8, maxLength: 8 })
const address = groups.map(groups => Uint8Array.from(groups.flatMap(group => [group >>> 8, group & 255])))

test('an IPv6 address survives its text form, and that is the canonical one', () => {
  fc.assert(
    fc.property(address, bytes => {
      const text = formatIpv6(bytes)
      assert.deepEqual(parseIpv6(text), bytes)
      assert.ok(isIPv6(text))
      assert.equal(text, text.toLowerCase())
      assert.ok(!/(^|:)0[0-9a-f]/.test(text), 'no leading zeros')
      const full = [...text.matchAll(/[0-9a-f]+/g)].length
      assert.ok(text.includes('.') || !text.includes('::') || full <= 6, '"::" is never a single group')
    }),
    { numRuns: 2000 },
  )
})

test('every spelling of an address is read as the same bytes', () => {
  fc.assert(
    fc.property(groups, fc.nat(7), fc.nat(8), fc.boolean(), (groups, from, length, upper) => {
      const bytes = Uint8Array.from(groups.flatMap(group => [group >>> 8, group & 255]))
      const parts = groups.map(group => group.toString(16).padStart(4, '0'))
      const cut = (text: string) => (upper ? text.toUpperCase() : text)
      assert.deepEqual(parseIpv6(cut(parts.join(':'))), bytes)
      const quad = `${parts.slice(0, 6).join(':')}:${bytes.subarray(12).join('.')}`
      assert.deepEqual(parseIpv6(cut(quad)), bytes)
      const run = groups.slice(from, from + length)
      if (run.length > 0 && run.every(group => group === 0)) {
        const text = `${parts.slice(0, from).join(':')}::${parts.slice(from + run.length).join(':')}`
        assert.deepEqual(parseIpv6(cut(text)), bytes)
      }
    }),
    { numRuns: 2000 },
  )
})

test('text is taken for IPv6 exactly when Node takes it, but for zones', () => {
  const piece = fc.oneof(
    fc.constantFrom(':', '::', '.', '0', 'ffff', '1.2.3.4', '256', '01', 'g'),
    fc.string({ maxLength: 3 }),
  )
  const text = fc.array(piece, { maxLength: 14 }).map(pieces => pieces.join(''))
  fc.assert(
    fc.property(text, text => {
      const bytes = parseIpv6(text)
      assert.equal(bytes !== undefined, isIPv6(text) && !text.includes('%'), JSON.stringify(text))
      if (bytes === undefined) return
      assert.deepEqual(parseIpv6(new SocketAddress({ address: text, family: 'ipv6' }).address), bytes)
    }),
    { numRuns: 5000 },
  )
})

test('host and port survive their text form', () => {
  const host = fc.oneof(
    fc.ipV4().map(host => ({ host, family: 'ipv4' })),
    address.map(bytes => ({ host: formatIpv6(bytes), family: 'ipv6' })),
    fc.domain().map(host => ({ host: host.toLowerCase(), family: 'name' })),
  )
  fc.assert(
    fc.property(host, fc.integer({ min: 1, max: 65535 }), ({ host, family }, port) => {
      assert.deepEqual(parseHostPort(formatHostPort({ host, port }), 1194), { host, port, family })
      const alone = family === 'ipv6' ? `[${host}]` : host
      assert.deepEqual(parseHostPort(alone, 1194), { host, port: 1194, family })
    }),
  )
})
