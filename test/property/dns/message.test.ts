// Datagrams, names and the zone for all contents, names and subnets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readDatagram, writeDatagram } from '../../../node/dns/datagram.ts'
import { readQuery, writeAnswer } from '../../../node/dns/message.ts'
import { answerFromZone } from '../../../node/dns/zone.ts'
import {
  cidrContains,
  formatCidr,
  formatIpv4,
  type OverlayAddress,
  parseCidr,
} from '../../../state/address.ts'
import { names, question, read } from '../../unit/dns/ask.ts'

const address = fc.integer({ min: 1, max: 2 ** 32 - 1 })
const port = fc.integer({ min: 0, max: 65_535 })

test('a datagram is read as it was written, and with a bit flipped it is none', () => {
  fc.assert(
    fc.property(
      address,
      address,
      port,
      port,
      fc.uint8Array({ maxLength: 1300 }),
      fc.nat(),
      (source, destination, sourcePort, destinationPort, payload, bit) => {
        const datagram = { source, destination, sourcePort, destinationPort, payload }
        const packet = writeDatagram(datagram, 7)
        assert.deepEqual(readDatagram(packet), datagram)
        // Header and checksum of UDP and all behind it; a checksum of 0 would stand for none, which one flip may make.
        const at = 20 * 8 + (bit % ((packet.length - 20) * 8))
        packet[at >> 3] ^= 1 << (at & 7)
        if (packet[26] !== 0 || packet[27] !== 0) assert.equal(readDatagram(packet), undefined)
      },
    ),
  )
})

test('every address of the subnet is the zone’s in reverse, and no other', () => {
  fc.assert(
    fc.property(address, fc.integer({ min: 8, max: 30 }), address, (base, length, other) => {
      const subnet = parseCidr(`${formatIpv4(base)}/${length}`)!
      const view = names({}, formatCidr(subnet))
      const ask = (ip: number, type: string) =>
        answerFromZone(`${formatIpv4(ip).split('.').reverse().join('.')}.in-addr.arpa`, type, view)
      const within = ((subnet.address + (other % 2 ** (32 - length))) >>> 0) as OverlayAddress
      assert.ok(ask(within, 'PTR'))
      assert.equal(ask(other, 'PTR') !== undefined, cidrContains(subnet, other))
    }),
  )
})

test('a name is found in any case, and its answer is whole', () => {
  const label = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,20}$/)
  fc.assert(
    fc.property(
      fc.array(label, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.boolean()),
      (labels, cases) => {
        const name = labels.join('.')
        const asked = [...`${name}.prod.internal`]
          .map(each => (cases.next().value ? each.toUpperCase() : each))
          .join('')
        const query = readQuery(question(asked, 'A'))
        assert.ok(typeof query === 'object')
        const zone = answerFromZone(query.question.name, 'A', names({ [name]: '10.77.3.4' }))!
        const answer = read(writeAnswer(query, { ...zone, rcode: 0 }, 512))
        assert.deepEqual(
          answer.answers!.map(each => ['data' in each && each.data, each.name]),
          [['10.77.3.4', asked]],
        )
      },
    ),
  )
})
