// The text of an invitation.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { decode, encode } from '@ipld/dag-cbor'
import fc from 'fast-check'
import { formatToken, type InviteToken, parseToken, TokenError } from '../../../mesh/admission/token.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

const endpoint = fc
  .tuple(
    fc.oneof(
      fc.ipV4(),
      fc.domain(),
      fc.ipV6().map(text => `[${text}]`),
    ),
    fc.nat(65_535),
  )
  .map(([host, port]) => `${host}:${port}`)
  .filter(text => text.length <= 260)

const token: fc.Arbitrary<InviteToken> = fc.record({
  meshId: fc.stringMatching(/^[0-9a-f]{16,40}$/),
  endpoints: fc.array(endpoint, { minLength: 1, maxLength: 8 }),
  rootFingerprint: bytes(32),
  inviter: bytes(32),
  inviteId: bytes(8),
  secret: bytes(32),
  expiresAt: fc.nat(8.64e15),
})

const SAMPLE: InviteToken = {
  meshId: '00112233445566778899aabbccddeeff',
  endpoints: ['192.0.2.1:4001', 'vpn.example.net:4001', '[2001:db8::1]:4001'],
  rootFingerprint: new Uint8Array(32).fill(1),
  inviter: new Uint8Array(32).fill(2),
  inviteId: new Uint8Array(8).fill(3),
  secret: new Uint8Array(32).fill(4),
  expiresAt: Date.UTC(2026, 0, 1),
}

function refusal(text: string): string {
  try {
    parseToken(text)
  } catch (error) {
    assert.ok(error instanceof TokenError, String(error))
    assert.match(error.message, /[;,]/, 'what is wrong; what to do')
    assert.doesNotMatch(error.message, /\n/)
    return error.message
  }
  throw new Error(`taken: ${text.slice(0, 100)}`)
}

/** Text with a right checksum around anything. */
function sealed(body: Uint8Array): string {
  const checksum = createHash('sha256').update(body).digest().subarray(0, 4)
  return `om1-${Buffer.concat([body, checksum]).toString('base64url')}`
}

const fields = (): unknown[] => decode(Buffer.from(formatToken(SAMPLE).slice(4), 'base64url').subarray(0, -4))

test('every token is read as it was written', () => {
  fc.assert(
    fc.property(token, one => {
      const text = formatToken(one)
      assert.match(text, /^om1-[A-Za-z0-9_-]+$/)
      assert.deepEqual(parseToken(`  ${text}\n`), { ...one })
    }),
  )
})

test('a token that is cut short anywhere is told so', () => {
  const text = formatToken(SAMPLE)
  for (let length = 4; length < text.length; length++) {
    assert.match(refusal(text.slice(0, length)), /cut short or mistyped/)
  }
  for (let length = 0; length < 4; length++) refusal(text.slice(0, length))
})

test('one letter that is another one is noticed wherever it is', () => {
  const text = formatToken(SAMPLE)
  for (let at = 4; at < text.length; at++) {
    for (const letter of ['A', 'z', '-', '_', ' ', 'é']) {
      if (text[at] === letter) continue
      assert.match(refusal(text.slice(0, at) + letter + text.slice(at + 1)), /cut short or mistyped/)
    }
  }
  for (const more of ['A', '=', '-', text]) assert.match(refusal(text + more), /cut short or mistyped/)
})

test('what else may be given in its place is told apart', () => {
  assert.match(refusal(''), /empty/)
  assert.match(refusal(' \n'), /empty/)
  assert.match(
    refusal(formatToken(SAMPLE).replace('om1', 'om2')),
    /newer version of Overmesh; upgrade this machine/,
  )
  assert.match(refusal('client\ndev tun\nremote vpn.example.net 1194\n<ca>\n'), /clientpack/)
  assert.match(refusal('packs/web.ovpn'), /clientpack/)
  assert.match(refusal('-----BEGIN ENCRYPTED PRIVATE KEY-----'), /clientpack|no token/)
  assert.match(refusal('OM1-AAAA'), /no token/)
  assert.match(refusal(formatToken(SAMPLE).slice(1)), /no token/)
  refusal(`om1-${'A'.repeat(10_000_000)}`)
  refusal('x'.repeat(10_000_000))
})

test('what a later version says at the end of a token is passed over, and a later form is told', () => {
  assert.deepEqual(parseToken(sealed(encode([...fields(), { more: 1 }]))), parseToken(formatToken(SAMPLE)))
  assert.match(
    refusal(sealed(encode(fields().with(0, 2)))),
    /newer version of Overmesh; upgrade this machine/,
  )
  assert.match(refusal(sealed(encode([9, 'other']))), /newer version/)
})

test('a right checksum around something else does not help', () => {
  const wrong: [at: number, value: unknown][] = [
    [0, 0],
    [0, '1'],
    [1, 'no hex'],
    [1, 7],
    [2, []],
    [2, 'vpn.example.net:4001'],
    [2, Array.from({ length: 9 }, () => '192.0.2.1:1')],
    [2, ['vpn.example.net']],
    [2, ['192.0.2.1:70000']],
    [2, [`${'a'.repeat(300)}:1`]],
    [3, new Uint8Array(31)],
    [4, new Uint8Array(33)],
    [5, new Uint8Array(0)],
    [6, 'secret'],
    [7, -1],
    [7, 1.5],
    [7, 8.65e15],
    [7, null],
  ]
  assert.ok(parseToken(sealed(encode(fields()))))
  for (const [at, value] of wrong) refusal(sealed(encode(fields().with(at, value))))
  refusal(sealed(encode(fields().slice(0, 7))))
  refusal(sealed(encode({})))
  refusal(sealed(new Uint8Array(0)))
  refusal(sealed(Uint8Array.of(0x9b, 255, 255, 255, 255, 255, 255, 255, 255)))
  refusal(sealed(new Uint8Array(3000).fill(0x81)))
})
