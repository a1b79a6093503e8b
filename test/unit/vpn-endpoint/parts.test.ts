// The small parts of endpoint and client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { pushOptions } from '../../../node/push.ts'
import { DATA_CIPHERS } from '../../../node/vpn/data-keys.ts'
import { Deadlines } from '../../../node/vpn/deadlines.ts'
import { nextKeyId } from '../../../node/vpn/key-ring.ts'
import { isLinkId, LINK_IDS, PeerIds } from '../../../node/vpn/peer-ids.ts'
import { parsePeerInfo } from '../../../node/vpn/peer-info.ts'
import { readPushed, remotesOptions } from '../../../node/vpn/pushed-options.ts'
import { RememberedKeys } from '../../../node/vpn/remembered-keys.ts'
import { RemoteList } from '../../../node/vpn/remote-list.ts'
import { agree, termOptions } from '../../../node/vpn/terms.ts'
import { TokenBucket } from '../../../node/vpn/token-bucket.ts'
import { parseCidr, parseIpv4 } from '../../../state/address.ts'
import { parseAddress6, parseCidr6 } from '../../../state/address6.ts'

test('deadlines come in order, as in a naive list', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), item: fc.nat(20), at: fc.nat(1000) }),
    fc.record({ kind: fc.constant('delete' as const), item: fc.nat(20), at: fc.constant(0) }),
    fc.record({ kind: fc.constant('take' as const), item: fc.constant(0), at: fc.nat(1000) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), steps => {
      const heap = new Deadlines<number>()
      const naive = new Map<number, number>()
      for (const { kind, item, at } of steps) {
        if (kind === 'set') {
          heap.set(item, at)
          naive.set(item, at)
        } else if (kind === 'delete') {
          heap.delete(item)
          naive.delete(item)
        } else {
          const least = Math.min(...naive.values())
          const taken = heap.take(at)
          assert.equal(taken !== undefined, least <= at)
          if (taken !== undefined) {
            assert.equal(naive.get(taken), least)
            naive.delete(taken)
          }
        }
        assert.equal(heap.size, naive.size)
        assert.equal(heap.next, Math.min(...naive.values()))
      }
    }),
  )
})

test('an item without a deadline is not kept', () => {
  const heap = new Deadlines<string>()
  heap.set('a', 5)
  heap.set('a', Number.POSITIVE_INFINITY)
  heap.set('b', Number.POSITIVE_INFINITY)
  assert.equal(heap.size, 0)
})

test('key ids skip 0 after 7', () => {
  assert.deepEqual([0, 1, 6, 7].map(nextKeyId), [1, 2, 7, 1])
})

test('a peer id rests for a minute before it is given out again', () => {
  const ids = new PeerIds(() => Uint8Array.of(0xff, 0xff, 0xfe), LINK_IDS)
  const first = ids.next(0, () => false)
  assert.ok(isLinkId(first))
  assert.ok(isLinkId(ids.next(0, peerId => peerId === first)))
  const again = new PeerIds(() => Uint8Array.of(0, 0, 5))
  again.release(0, 5)
  assert.equal(
    again.next(1, peerId => peerId === 6),
    7,
  )
  const later = new PeerIds(() => Uint8Array.of(0, 0, 5))
  later.release(0, 5)
  assert.equal(
    later.next(60_000, () => false),
    5,
  )
  const early = new PeerIds(() => Uint8Array.of(0, 0, 5))
  early.release(0, 5)
  assert.equal(
    early.next(59_999, () => false),
    6,
  )
})

test('ids of sessions and of links never meet, and each kind goes round', () => {
  const isLink = [0, 0xefffff, 0xf00000, 0xfffffe, 0xffffff].map(isLinkId)
  assert.deepEqual(isLink, [false, false, true, true, false])
  const unused = (): boolean => false
  const sessions = new PeerIds(() => Uint8Array.of(0xef, 0xff, 0xff))
  assert.deepEqual([sessions.next(0, unused), sessions.next(0, unused)], [0xefffff, 0])
  assert.equal(new PeerIds(() => Uint8Array.of(0xf0, 0, 0)).next(0, unused), 0)
  const links = new PeerIds(() => Uint8Array.of(0x0f, 0xff, 0xfe), LINK_IDS)
  assert.deepEqual([links.next(0, unused), links.next(0, unused)], [0xfffffe, 0xf00000])
})

test('remembered keys are bounded and expire', () => {
  const keys = new RememberedKeys(1000)
  for (let i = 0; i < 5000; i++) keys.put(0, `${i}`, Uint8Array.of(i & 255))
  assert.equal(keys.size, 1024)
  assert.equal(keys.get(0, '0'), undefined)
  assert.deepEqual(keys.get(999, '4999'), Uint8Array.of(4999 & 255))
  assert.equal(keys.get(1000, '4999'), undefined)
  keys.put(1001, 'new', Uint8Array.of(1))
  assert.equal(keys.size, 1)
})

test('a bucket gives out what it gained, and no more than its burst', () => {
  const bucket = new TokenBucket(10, 0)
  const taken = (now: number): number => {
    let count = 0
    while (bucket.take(now)) count++
    return count
  }
  assert.equal(taken(0), 20)
  assert.equal(taken(500), 5)
  assert.equal(taken(100_000), 20)
  assert.equal(taken(0), 0)
})

const OPTIONS = 'V4,dev-type tun,cipher AES-256-GCM,auth SHA1,keysize 256,key-method 2,tls-client'

test('terms follow from what the client can', () => {
  const terms = (proto: number, ciphers: string, options = OPTIONS) =>
    agree(DATA_CIPHERS, parsePeerInfo(`IV_PROTO=${proto}\nIV_CIPHERS=${ciphers}\n`), options)
  assert.deepEqual(terms(990, 'AES-128-GCM:AES-256-GCM'), {
    cipher: 'AES-256-GCM',
    derivation: 'tls-ekm',
    protocolFlags: true,
    format: 'aead',
    dynamicTlsCrypt: true,
  })
  assert.partialDeepStrictEqual(terms(990 | 1024, 'AES-256-GCM'), { format: 'epoch' })
  assert.partialDeepStrictEqual(terms(2 | 1024, 'AES-256-GCM'), { format: 'aead', derivation: 'prf' })
  assert.partialDeepStrictEqual(terms(4, 'AES-256-GCM'), {
    refused: 'this client is too old: it cannot send a peer id',
  })
  assert.match(JSON.stringify(terms(990, 'AES-256-CBC', 'V4,cipher BF-CBC')), /no data cipher in common/)
  assert.match(JSON.stringify(terms(990, 'AES-256-GCM', `${OPTIONS},comp-lzo`)), /compression/)
  assert.match(JSON.stringify(terms(990, 'AES-256-GCM', `${OPTIONS},mtu-dynamic`)), /fragment is not/)
  assert.match(
    JSON.stringify(terms(990, 'AES-256-GCM', OPTIONS.replace('tun', 'tap'))),
    /dev tun for dev tap/,
  )
})

test('what is pushed is what a client reads', () => {
  const options = ['route-gateway 10.77.0.1', 'ping 1', 'ping-restart 3', 'ifconfig 10.77.0.9 255.255.255.0']
  for (const proto of [2, 6, 990, 990 | 1024, 2 | 8]) {
    const terms = agree(DATA_CIPHERS, parsePeerInfo(`IV_PROTO=${proto}\nIV_CIPHERS=AES-256-GCM\n`), OPTIONS)
    if ('refused' in terms) assert.fail(terms.refused)
    const pushed = readPushed([...options, ...termOptions(terms, 77, 1420)])
    if (typeof pushed === 'string') assert.fail(pushed)
    const { cipher, format, derivation, dynamicTlsCrypt } = terms
    const agreed = { cipher, format, derivation, dynamicTlsCrypt, exitByControl: terms.protocolFlags }
    assert.partialDeepStrictEqual(pushed, { ...agreed, peerId: 77, pingMs: 1000, pingRestartMs: 3000 })
  }
  assert.equal(readPushed([]), 'it pushed no address')
  assert.equal(readPushed(['ifconfig 10.0.0.1 255.0.0.0']), 'it pushed no peer id')
  assert.match(
    String(readPushed(['ifconfig 10.0.0.1 255.0.0.0', 'peer-id 1', 'protocol-flags cc-exit new-thing'])),
    /new-thing/,
  )
})

test('the IPv6 address that goes with the IPv4 address is pushed, and read', () => {
  const context = {
    address: parseIpv4('10.77.1.9')!,
    subnet: parseCidr('10.77.0.0/16')!,
    gateway: parseIpv4('10.77.0.1')!,
    routes: [],
  }
  const [four, six] = [undefined, parseCidr6('fd00:77::/48')].map(subnet6 =>
    pushOptions({ ...context, subnet6 }),
  )
  assert.deepEqual(
    six.filter(option => !four.includes(option)),
    ['ifconfig-ipv6 fd00:77::a4d:109/64 fd00:77::a4d:1'],
  )
  assert.deepEqual(
    six.filter(option => four.includes(option)),
    four,
  )
  const read = (options: string[]) => {
    const pushed = readPushed([...options, 'peer-id 1'])
    if (typeof pushed === 'string') assert.fail(pushed)
    return pushed.address6
  }
  assert.deepEqual(read(six), parseAddress6('fd00:77::a4d:109'))
  assert.equal(read(four), undefined)
  assert.equal(read([...four, 'ifconfig-ipv6 nonsense/64 x']), undefined)
})

const REMOTES = ['a', 'b', 'c'].map(host => ({ host, port: 1 }))

function remotes(options: Partial<ConstructorParameters<typeof RemoteList>[0]> = {}): RemoteList {
  const profile = { remotes: REMOTES, remoteRandom: false, retryMs: 0, maxRetryMs: 8000, ...options }
  return new RemoteList(profile, () => 0.1)
}

test('a remote that had a connection is tried once more, then the next; RESTART,[N] goes on at once', () => {
  const list = remotes()
  list.connected()
  list.next({ kind: 'silence' }, true)
  assert.equal(list.current.host, 'a')
  list.next({ kind: 'no-answer' }, false)
  assert.equal(list.current.host, 'b')
  list.connected()
  list.next({ kind: 'restart', target: 'next', reason: '' }, true)
  assert.equal(list.current.host, 'c')
  list.next({ kind: 'restart', target: 'same', reason: '' }, true)
  assert.equal(list.current.host, 'c')
  list.next({ kind: 'tls', reason: '' }, false)
  assert.equal(list.current.host, 'a')
})

test('pauses double after five rounds in vain, up to their bound', () => {
  const list = remotes()
  const pauses = Array.from({ length: 33 }, () => list.next({ kind: 'no-answer' }, false))
  assert.deepEqual(pauses.slice(0, 14), Array(14).fill(0))
  assert.deepEqual([...new Set(pauses.slice(14))], [1000, 2000, 4000, 8000])
  list.connected()
  assert.equal(list.next({ kind: 'no-answer' }, false), 0)
})

test('a server that is busy says how long to wait and where to go', () => {
  const list = remotes()
  const busy = (advance?: 'no' | 'addr' | 'remote', backoffSeconds = 10) =>
    list.next({ kind: 'auth-failed', reason: '', temporary: { backoffSeconds, advance } }, false)
  assert.equal(busy('no'), 10_000)
  assert.equal(list.current.host, 'a')
  assert.equal(busy('remote', 99_999), 300_000)
  assert.equal(list.current.host, 'b')
})

test('remote-random shuffles once', () => {
  const list = remotes({ remoteRandom: true })
  const seen = new Set<string>()
  for (let i = 0; i < 3; i++) {
    seen.add(list.current.host)
    list.next({ kind: 'no-answer' }, false)
  }
  assert.equal(seen.size, 3)
})

test('the servers that there are come in options of a length that stock clients take', () => {
  const endpoints = Array.from({ length: 40 }, (_, index) => `vpn${index}.example.net:1194`)
  const options = remotesOptions(endpoints)
  assert.ok(options.every(option => option.length < 256))
  assert.ok(
    options.every(option => !option.includes(',')),
    'a comma would end the option',
  )
  const pushed = readPushed([...options, 'ifconfig 10.0.0.1 255.0.0.0', 'peer-id 1'])
  assert.deepEqual(typeof pushed === 'string' ? pushed : pushed.remotes, endpoints)
})

test('a client goes on to servers that it has learnt of, each once', () => {
  const known = { host: 'a', port: 1 }
  const list = new RemoteList(
    { remotes: [known], remoteRandom: false, retryMs: 0, maxRetryMs: 0 },
    Math.random,
  )
  list.learn([{ host: 'b', port: 2 }, known, { host: 'b', port: 2 }])
  const tried = [0, 1, 2].map(() => {
    const { host } = list.current
    list.next({ kind: 'no-answer' }, false)
    return host
  })
  assert.deepEqual(tried, ['a', 'b', 'a'])
})
