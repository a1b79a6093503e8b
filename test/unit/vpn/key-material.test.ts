// Key derivation against OpenVPN's tests/unit_tests/openvpn/test_crypto.c, and the layout of the key block.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import {
  aeadKey,
  epochIv,
  epochKey,
  epochSecret,
  nextEpochSecret,
  ovpnExpandLabel,
  splitKeyBlock,
} from '../../../node/vpn/data-keys.ts'
import { deriveKeyBlockPrf, KEY_BLOCK_LENGTH, tls1Prf } from '../../../node/vpn/prf.ts'
import { counting, hex } from './published-keys.ts'

const text = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value))

test('the PRF gives the published bytes', () => {
  const secret = text(
    'Lorem ipsum dolor sit amet, consectetur adipisici elit, sed eiusmod tempor incidunt ut labore et dolore magna aliqua.',
  )
  const seed = text('Quis aute iure reprehenderit in voluptate velit esse cillum dolore')
  assert.deepEqual(
    tls1Prf(secret, seed, 32),
    hex('d98c8518c85e946927916acfc2d592fbb1567e4b4b1459e6a904ac2ddab72d67'),
  )
})

test('the PRF of an odd secret shares its middle byte, and a shorter output is a prefix of a longer one', () => {
  const long = tls1Prf(counting(49), counting(10), 300)
  assert.deepEqual(tls1Prf(counting(49), counting(10), 17), long.slice(0, 17))
  // The halves are bytes 0-24 and 24-48: the middle byte changes both, so a change in either half shows.
  const changed = counting(49)
  changed[24] ^= 1
  assert.notDeepEqual(tls1Prf(changed, counting(10), 300), long)
})

const PRF_INPUT = {
  preMaster: counting(48),
  clientRandom1: new Uint8Array(32).fill(1),
  clientRandom2: new Uint8Array(32).fill(2),
  serverRandom1: new Uint8Array(32).fill(3),
  serverRandom2: new Uint8Array(32).fill(4),
  clientSid: new Uint8Array(8).fill(5),
  serverSid: new Uint8Array(8).fill(6),
}

/** P_hash and the two expansions of RFC 2246, written once more in the plainest way. */
function plainPrf(secret: Uint8Array, seed: Buffer, length: number): Uint8Array {
  const half = secret.length / 2
  const stream = (name: string, key: Uint8Array): Buffer => {
    let a = createHmac(name, key).update(seed).digest()
    let out = Buffer.alloc(0)
    while (out.length < length) {
      out = Buffer.concat([
        out,
        createHmac(name, key)
          .update(Buffer.concat([a, seed]))
          .digest(),
      ])
      a = createHmac(name, key).update(a).digest()
    }
    return out
  }
  const [md5, sha1] = [stream('md5', secret.subarray(0, half)), stream('sha1', secret.subarray(half))]
  return Uint8Array.from({ length }, (_, i) => md5[i] ^ sha1[i])
}

test('the key block comes from both randoms and both session ids, in the order of ssl.c', () => {
  const { preMaster, clientRandom1, clientRandom2, serverRandom1, serverRandom2, clientSid, serverSid } =
    PRF_INPUT
  const master = plainPrf(
    preMaster,
    Buffer.concat([text('OpenVPN master secret'), clientRandom1, serverRandom1]),
    48,
  )
  const block = plainPrf(
    master,
    Buffer.concat([text('OpenVPN key expansion'), clientRandom2, serverRandom2, clientSid, serverSid]),
    KEY_BLOCK_LENGTH,
  )
  assert.deepEqual(deriveKeyBlockPrf(PRF_INPUT), block)
})

test('what one end sends with, the other receives with', () => {
  const block = counting(256)
  const [server, client] = [splitKeyBlock(block, 'server'), splitKeyBlock(block, 'client')]
  assert.deepEqual(server.send, client.receive)
  assert.deepEqual(server.receive, client.send)
  assert.deepEqual(client.send, { cipher: counting(64), hmac: counting(128).slice(64) })
  assert.deepEqual([server.send.cipher[0], server.send.hmac[0]], [128, 192])
})

test('keys do not change when the block is wiped', () => {
  // TLS exports a Buffer, whose `slice` does not copy.
  const block = Buffer.from(counting(256))
  const { send } = splitKeyBlock(block, 'client')
  const { key } = aeadKey(send, 'AES-256-GCM')
  const secret = epochSecret(send)
  block.fill(0)
  send.cipher.fill(0)
  assert.deepEqual(key, counting(32))
  assert.deepEqual(secret, counting(32))
})

test('the leading bytes are key and implicit nonce', () => {
  const { send } = splitKeyBlock(counting(256), 'client')
  for (const [cipher, length] of [
    ['AES-256-GCM', 32],
    ['CHACHA20-POLY1305', 32],
    ['AES-192-GCM', 24],
    ['AES-128-GCM', 16],
  ] as const) {
    assert.deepEqual(aeadKey(send, cipher), { key: counting(length), implicitIv: counting(72).slice(64) })
  }
})

const LABEL_SECRET = hex('077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5')

test('Expand-Label gives the published bytes, over one block and within it', () => {
  assert.deepEqual(ovpnExpandLabel(LABEL_SECRET, 'unit test', 16), hex('185eaa1c7f228ab8eb29773214d92046'))
  assert.deepEqual(
    ovpnExpandLabel(LABEL_SECRET, 'unit test', 27),
    hex('875a8eec18556380b8d933ed323c2df8e8eccf4972e683f06a83ac'),
  )
})

test('Expand-Label goes on past one hash length', () => {
  // RFC 5869: T(n) = HMAC(PRK, T(n-1) | info | n).
  const info = Buffer.concat([hex('0064 0e'), text('ovpn unit test'), hex('00')])
  let block = Buffer.alloc(0)
  const expected: Buffer[] = []
  for (let n = 1; n <= 4; n++) {
    block = createHmac('sha256', LABEL_SECRET)
      .update(Buffer.concat([block, info, Uint8Array.of(n)]))
      .digest()
    expected.push(block)
  }
  assert.deepEqual(
    ovpnExpandLabel(LABEL_SECRET, 'unit test', 100),
    Uint8Array.from(Buffer.concat(expected).subarray(0, 100)),
  )
})

test('the key and IV of the published epoch 17 are derived', () => {
  const secret = new Uint8Array(32)
  secret.set([19, 12])
  assert.deepEqual(epochKey(secret, 24), hex('ed8533db1c28ace418e9006ab29c17417d60ebe6cd90bf0a'))
  assert.deepEqual(epochIv(secret), hex('86890aabf032cb59f4cfa34e'))
})

test('epochs follow one another by their own label', () => {
  assert.deepEqual(nextEpochSecret(LABEL_SECRET), ovpnExpandLabel(LABEL_SECRET, 'datakey upd', 32))
})
