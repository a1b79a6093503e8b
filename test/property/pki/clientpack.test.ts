import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ClientpackRequest, formatClientpack } from '../../../node/pki/clientpack.ts'
import { PkiError } from '../../../node/pki/errors.ts'

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'

const REQUEST: ClientpackRequest = {
  ...{ meshName: 'prod', meshId: '00112233445566778899', clientName: 'web', address: '10.77.0.9' },
  ...{ madeBy: 'alpha', madeAt: 0, expiresAt: 0, serial: '5a', remotes: [{ host: 'a', port: 1 }] },
  ...{ root: PEM, certificate: PEM, chain: PEM, privateKey: PEM, tlsCryptV2: PEM },
}

const TEXTS = ['meshName', 'meshId', 'clientName', 'address', 'madeBy', 'serial'] as const
const PEMS = ['root', 'certificate', 'chain', 'privateKey', 'tlsCryptV2'] as const

/** Text as an attacker would write it, often close to what is allowed. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom('a', '0', '.', '-', ':', '\n', '\r', ' ', '"', '#', '<', '>', '/', '\0'),
  }),
)
const nearPem = fc
  .tuple(fc.nat(PEM.length), fc.nat(PEM.length), hostile)
  .map(([from, length, text]) => PEM.slice(0, from) + text + PEM.slice(from + length))

/** What is left of a pack without comments and blocks, options only. */
const optionsOf = (pack: string): string[] =>
  pack
    .replace(
      /^<(ca|cert|key|tls-crypt-v2)>\n(?:-----(?:BEGIN|END) [\w -]+-----\n|[\w+/=]+\n|\n)+<\/\1>\n/gm,
      '',
    )
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => line.split(' ')[0])

const EXPECTED = optionsOf(formatClientpack(REQUEST))

function holds(change: Partial<ClientpackRequest>): void {
  let pack: string
  try {
    pack = formatClientpack({ ...REQUEST, ...change })
  } catch (error) {
    assert.ok(error instanceof PkiError && error.code === 'BAD_ARGUMENT')
    return
  }
  assert.deepEqual(optionsOf(pack), EXPECTED)
  assert.match(pack, /^[\x20-\x7e\n]*$/)
}

test('the options of a pack are the same whatever is put into it', () => {
  assert.ok(EXPECTED.includes('remote-cert-tls') && EXPECTED.length > 15)
  fc.assert(
    fc.property(fc.constantFrom(...TEXTS), hostile, (field, text) => holds({ [field]: text })),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(hostile, fc.double(), (host, port) => holds({ remotes: [{ host, port }] })),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(hostile, host => holds({ remotes: [{ host, port: 1194 }] })),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(fc.constantFrom(...PEMS), nearPem, (field, text) => holds({ [field]: text })),
    { numRuns: 4000 },
  )
})
