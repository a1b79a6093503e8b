// VICI of a daemon gone mad: a packet, or one error that ends the connection; never more memory than its limits.
import assert from 'node:assert/strict'
import { Carrying } from '../../node/ipsec/strongswan/carrying.ts'
import { readIkeSa } from '../../node/ipsec/strongswan/sas.ts'
import { ViciError } from '../../node/ipsec/vici/error.ts'
import { sectionsOf } from '../../node/ipsec/vici/message.ts'
import { decodePacket, PacketReader, type ViciPacket } from '../../node/ipsec/vici/packet.ts'
import { packet } from '../unit/ipsec/fake-daemon.ts'
import { fuzz } from './mutate.ts'

const child = { uniqueid: '7', state: 'INSTALLED', 'spi-in': 'c0ffee00', 'local-ts': ['10.77.0.0/16'] }
const sa = { uniqueid: '1', version: '2', state: 'ESTABLISHED', 'child-sas': { 'net-7': child } }
const CORPUS = [
  packet(1, undefined, { success: 'no', errmsg: 'loading failed' }),
  packet(7, 'list-sa', { '0123456789abcdef': sa }),
  packet(7, 'child-updown', { up: 'yes', '0123456789abcdef': sa }),
  packet(7, 'child-rekey', {
    site: { 'child-sas': { net: { old: child, new: { ...child, uniqueid: '8' } } } },
  }),
  packet(5),
]

function read(bytes: Uint8Array): ViciPacket | undefined {
  try {
    return decodePacket(bytes)
  } catch (error) {
    assert.ok(error instanceof ViciError)
    assert.equal(error.code, 'malformed')
    return undefined
  }
}

fuzz({
  name: 'VICI packets',
  corpus: CORPUS.map(each => new Uint8Array(each.subarray(4))),
  check: input => {
    const received = read(input)
    if (received?.type !== 'response' && received?.type !== 'event') return
    const carrying = new Carrying()
    const named = sectionsOf(received.message)
    for (const each of named) {
      readIkeSa(...each)
      carrying.updown(each, true)
      carrying.rekeyed(each)
    }
    carrying.replace(named)
  },
})

fuzz({
  name: 'a stream of VICI packets',
  corpus: CORPUS.map(each => new Uint8Array(each)),
  check: input => {
    const reader = new PacketReader()
    try {
      for (const bytes of reader.push(input)) read(bytes)
    } catch (error) {
      assert.ok(error instanceof ViciError)
    }
  },
})
