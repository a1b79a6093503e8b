// Paths in the kernel's terms: as they are written they are read again, and equal is what leads to the same peer, no more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatIpv4, formatIpv6, parseIpv6 } from '../../../node/net/ip.ts'
import { wrapMemory } from '../../../node/switch/memory.ts'
import type { Path } from '../../../node/switch/path.ts'
import {
  controlAt,
  controlLength,
  copyLocal,
  copyName,
  hashName,
  nameLength,
  PATH_STRIDE,
  readName,
  readPath,
  sameLocal,
  sameName,
  writeName,
  writePath,
} from '../../../node/switch/socket-address.ts'

const arena = () => {
  const memory = wrapMemory(new ArrayBuffer(4 * PATH_STRIDE))
  // What was there before must not show.
  memory.bytes.fill(0xa5)
  return memory
}

const ipv4 = fc.nat(0xffffffff).map(formatIpv4)
const global = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => {
  bytes[0] = 0x20
  return formatIpv6(bytes)
})
const linkLocal = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map(bytes => formatIpv6(Uint8Array.of(0xfe, 0x80 | (bytes[1] & 0x3f), ...bytes.subarray(2))))
const ends = fc.oneof(
  fc.tuple(ipv4, ipv4),
  fc.tuple(global, global),
  fc.tuple(linkLocal, linkLocal),
  fc.tuple(ipv4, fc.constant('')),
  fc.tuple(global, fc.constant('')),
)
const isLinkLocal = (ip: string): boolean => /^fe[89ab]/.test(ip)
const ports = fc.nat(0xffff)
const places = fc.constantFrom(0, PATH_STRIDE, 3 * PATH_STRIDE)

test('a path is read as it was written, and an interface counts where an address is link-local', () => {
  fc.assert(
    fc.property(
      ends,
      ports,
      fc.integer({ min: 1, max: 1000 }),
      places,
      ([remote, local], port, ifindex, at) => {
        const memory = arena()
        const path: Path = { socket: 3, remote, port, local, ifindex }
        assert.equal(writePath(memory, at, path), true)
        const four = !remote.includes(':')
        assert.equal(nameLength(memory, at), four ? 16 : 28)
        // The data of a control message, rounded up to whole words: RFC 3542, section 20.
        assert.equal(controlLength(memory, at), local === '' ? 0 : four ? 32 : 40)
        assert.equal(controlAt(at), at + 32)
        assert.deepEqual(readPath(memory, at, 3, 7), { ...path, ifindex: isLinkLocal(remote) ? ifindex : 7 })
        assert.deepEqual(readName(memory, at), { ip: remote, port, scope: isLinkLocal(remote) ? ifindex : 0 })
        const around = [...memory.bytes.subarray(0, at), ...memory.bytes.subarray(at + PATH_STRIDE)]
        assert.ok(around.every(byte => byte === 0xa5))
      },
    ),
  )
})

test('ancillary data is that of the kernel', () => {
  const memory = arena()
  const { view } = memory
  writePath(memory, 0, { socket: 0, remote: '192.0.2.1', port: 0x1234, local: '192.0.2.2', ifindex: 9 })
  // sockaddr_in; cmsghdr of 28 bytes, SOL_IP, IP_PKTINFO; in_pktinfo without an interface, with the source address.
  assert.equal(Buffer.from(memory.bytes.subarray(0, 16)).toString('hex'), '02001234c00002010000000000000000')
  assert.deepEqual(
    [view.getUint32(32, true), view.getUint32(36, true), view.getInt32(40, true), view.getInt32(44, true)],
    [28, 0, 0, 8],
  )
  assert.equal(Buffer.from(memory.bytes.subarray(48, 60)).toString('hex'), '00000000c000020200000000')
  writePath(memory, 0, { socket: 0, remote: 'fe80::1', port: 0x1234, local: 'fe80::2', ifindex: 9 })
  // sockaddr_in6 with its scope; cmsghdr of 36 bytes, SOL_IPV6, IPV6_PKTINFO; in6_pktinfo with the interface.
  const name = '0a00123400000000fe80000000000000000000000000000109000000'
  assert.equal(Buffer.from(memory.bytes.subarray(0, 28)).toString('hex'), name)
  assert.deepEqual(
    [view.getUint32(32, true), view.getUint32(36, true), view.getInt32(40, true), view.getInt32(44, true)],
    [36, 0, 41, 50],
  )
  const local = 'fe800000000000000000000000000002'
  assert.equal(Buffer.from(memory.bytes.subarray(48, 68)).toString('hex'), `${local}09000000`)
  writePath(memory, 0, { socket: 0, remote: '2001:db8::1', port: 1, local: '2001:db8::2', ifindex: 9 })
  assert.equal(view.getUint32(24, true), 0)
  assert.equal(view.getUint32(64, true), 0)
})

test('what is no address is no path', () => {
  const memory = arena()
  for (const remote of ['', 'example.net', '1.2.3', '1.2.3.4:5', 'fe80::1%eth0'])
    assert.equal(writePath(memory, 0, { socket: 0, remote, port: 1, local: '', ifindex: 0 }), false, remote)
})

test('two remote ends are the same exactly if family, address and port are, and then have one hash', () => {
  const small = fc.oneof(
    fc.nat(2).map(last => `192.0.2.${last}`),
    fc.nat(2).map(last => `2001:db8::${last}`),
    fc.constantFrom('2001:db8:0:1::', '2001:db8:1::', '2001:db9::', '::c000:200'),
    fc.nat(1).map(last => `fe80::${last}`),
  )
  const name = fc.record({
    ip: small,
    port: fc.nat(1),
    scope: fc.integer({ min: 1, max: 2 }),
    flow: fc.nat(1),
  })
  fc.assert(
    fc.property(name, name, fc.nat(0xffffffff), (a, b, seed) => {
      const [left, right] = [arena(), arena()]
      writeName(left, 0, a.ip, a.port, a.scope)
      writeName(right, PATH_STRIDE, b.ip, b.port, b.scope)
      // A flow label, as the kernel may hand one over.
      if (a.ip.includes(':')) left.words[1] = a.flow
      const same = a.ip === b.ip && a.port === b.port && (!isLinkLocal(a.ip) || a.scope === b.scope)
      assert.equal(sameName(left, 0, right, PATH_STRIDE), same)
      if (same) assert.equal(hashName(left, 0, seed), hashName(right, PATH_STRIDE, seed))
      copyName(right, 2 * PATH_STRIDE, left, 0)
      assert.equal(sameName(left, 0, right, 2 * PATH_STRIDE), true)
      assert.equal(right.words[(2 * PATH_STRIDE) / 4 + 1], a.ip.includes(':') ? 0 : left.words[1])
    }),
    { numRuns: 2000 },
  )
})

test('each word of an IPv6 address and of its scope counts', () => {
  const [left, right] = [arena(), arena()]
  for (const at of [8, 12, 16, 20, 24]) {
    writeName(left, 0, '2001:db8::1', 5, 0)
    writeName(right, 0, '2001:db8::1', 5, 0)
    assert.equal(sameName(left, 0, right, 0), true)
    right.bytes[at] ^= 1
    assert.equal(sameName(left, 0, right, 0), false, `byte ${at}`)
    assert.equal(hashName(left, 0, 1) === hashName(right, 0, 1), at === 24)
  }
})

test('hashes of neighbours fall into different slots, and nobody can tell which', () => {
  const memory = arena()
  const slotsOf = (seed: number, ip: (i: number) => string, port: (i: number) => number): Set<number> => {
    const slots = new Set<number>()
    for (let i = 0; i < 4096; i++) {
      writeName(memory, 0, ip(i), port(i), 0)
      const hash = hashName(memory, 0, seed)
      assert.ok(Number.isInteger(hash) && hash >= 0 && hash <= 0xffffffff)
      slots.add(hash & 4095)
    }
    return slots
  }
  const kinds: [string, (i: number) => string, (i: number) => number][] = [
    ['ports of one address', () => '192.0.2.1', i => i + 1024],
    ['addresses', i => formatIpv4(0x0a000000 + i), () => 1194],
    ['interfaces of one network', i => `2001:db8::${(i + 1).toString(16)}`, () => 1194],
    ['networks', i => `2001:db8:${(i + 1).toString(16)}::1`, () => 1194],
  ]
  for (const [name, ip, port] of kinds) {
    // Of 4096 balls thrown at random some 2590 slots are hit.
    const slots = slotsOf(12345, ip, port)
    assert.ok(slots.size > 2000, `${name}: ${slots.size}`)
    writeName(memory, 0, ip(1), port(1), 0)
    const hashes = new Set(Array.from({ length: 100 }, (_, seed) => hashName(memory, 0, seed)))
    assert.ok(hashes.size > 95, `${name}: ${hashes.size} by seed`)
  }
})

test('the local end is taken over from what the kernel says, and told apart', () => {
  fc.assert(
    fc.property(ends, ends, fc.integer({ min: 1, max: 99 }), ([remote, local], [, other], ifindex) => {
      const paths = arena()
      const control = arena()
      const put = (at: number, ip: string): number => {
        if (ip === '') return 0
        const v6 = parseIpv6(ip)
        if (v6) control.bytes.set(v6, at)
        else
          control.view.setUint32(
            at,
            ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0),
          )
        return v6 ? 16 : 4
      }
      const [length, otherLength] = [put(8, local), put(40, other)]
      writeName(paths, PATH_STRIDE, remote, 7, ifindex)
      copyLocal(paths, PATH_STRIDE, control, 8, length, ifindex)
      assert.deepEqual(
        paths.bytes.slice(PATH_STRIDE, 2 * PATH_STRIDE),
        (() => {
          const written = arena()
          writePath(written, 0, { socket: 0, remote, port: 7, local, ifindex })
          return written.bytes.slice(0, PATH_STRIDE)
        })(),
      )
      assert.equal(sameLocal(paths, PATH_STRIDE, control, 8, length), true)
      assert.equal(sameLocal(paths, PATH_STRIDE, control, 40, otherLength), other === '' || other === local)
    }),
    { numRuns: 500 },
  )
})

test('every part of the local address counts', () => {
  const [paths, control] = [arena(), arena()]
  for (const length of [4, 16]) {
    for (let byte = 0; byte < length; byte++) {
      control.bytes.fill(0x20, 0, 16)
      copyLocal(paths, 0, control, 0, length, 1)
      control.bytes[byte] ^= 1
      assert.equal(sameLocal(paths, 0, control, 0, length), false)
    }
  }
})
