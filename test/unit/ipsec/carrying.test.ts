import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { Carrying, type NamedSa } from '../../../node/ipsec/strongswan/carrying.ts'
import { readIkeSa } from '../../../node/ipsec/strongswan/sas.ts'
import {
  decodeMessage,
  encodeMessage,
  sectionsOf,
  type ViciMessage,
} from '../../../node/ipsec/vici/message.ts'

let said: string[]
let carrying: Carrying
beforeEach(() => {
  said = []
  carrying = new Carrying()
  carrying.onUp = tunnel => said.push(`up ${tunnel}`)
  carrying.onDown = tunnel => said.push(`down ${tunnel}`)
})

const sa = (name: string, children: ViciMessage): NamedSa =>
  sectionsOf(decodeMessage(encodeMessage({ [name]: { 'child-sas': children } })))[0]
const child = (uniqueid: string, state = 'INSTALLED'): ViciMessage => ({
  [`net-${uniqueid}`]: { uniqueid, state },
})
const rekeyed = (before: string, after: string): NamedSa =>
  sa('a', { net: { old: { uniqueid: before }, new: { uniqueid: after } } })

test('up with the first child, down with the last', () => {
  carrying.updown(sa('a', child('1')), true)
  carrying.updown(sa('a', child('2')), true)
  carrying.updown(sa('a', child('1')), false)
  assert.deepEqual(said, ['up a'])
  assert.ok(carrying.has('a'))
  carrying.updown(sa('a', child('2')), false)
  assert.deepEqual(said, ['up a', 'down a'])
  carrying.updown(sa('a', child('9')), false)
  assert.equal(said.length, 2)
})

test('rekeying is no gap', () => {
  carrying.updown(sa('a', child('1')), true)
  carrying.rekeyed(rekeyed('1', '2'))
  carrying.rekeyed(rekeyed('2', '3'))
  assert.deepEqual(said, ['up a'])
  carrying.updown(sa('a', child('3')), false)
  assert.deepEqual(said, ['up a', 'down a'])
})

test('a list tells what events did not, and says no more than that', () => {
  carrying.updown(sa('a', child('1')), true)
  carrying.replace([sa('a', child('1')), sa('b', { ...child('2'), ...child('3', 'REKEYED') })])
  assert.deepEqual(said, ['up a', 'up b'])
  carrying.replace([sa('b', child('3', 'REKEYED')), sa('c', child('4', 'CREATED'))])
  assert.deepEqual(said.slice(2).sort(), ['down a', 'down b'])
})

test('SAs of a device that was dialled back are the same tunnel’s', () => {
  carrying.updown(sa('a.back', child('1')), true)
  carrying.updown(sa('a', child('2')), true)
  carrying.updown(sa('a.back', child('1')), false)
  assert.deepEqual(said, ['up a'])
})

test('an SA as the daemon lists it', () => {
  const [named] = sectionsOf(
    decodeMessage(
      encodeMessage({
        'a.back': {
          uniqueid: '4',
          version: '2',
          state: 'ESTABLISHED',
          initiator: 'yes',
          'local-host': '192.0.2.1',
          'local-port': '4500',
          'remote-host': '2001:db8::2',
          'remote-port': '4500',
          'local-id': 'mesh',
          'remote-id': 'branch',
          'nat-any': 'yes',
          'encr-alg': 'AES_GCM_16',
          'encr-keysize': '256',
          'prf-alg': 'PRF_HMAC_SHA2_384',
          'dh-group': 'CURVE_25519',
          established: '12',
          'rekey-time': '800',
          'child-sas': {
            'net-7': {
              name: 'net',
              uniqueid: '7',
              state: 'INSTALLED',
              'spi-in': 'c0ffee00',
              'spi-out': 'deadbeef',
              'encr-alg': 'AES_CBC',
              'encr-keysize': '128',
              'integ-alg': 'HMAC_SHA2_256_128',
              'bytes-in': '840',
              'packets-in': '10',
              'bytes-out': 'nonsense',
              'install-time': '3',
              'life-time': '-5',
              'local-ts': ['10.77.0.0/16'],
              'remote-ts': ['10.50.0.0/24'],
            },
          },
        },
      }),
    ),
  )
  assert.deepEqual(readIkeSa(...named), {
    tunnel: 'a',
    uniqueId: '4',
    state: 'ESTABLISHED',
    version: 2,
    initiator: true,
    localHost: '192.0.2.1:4500',
    remoteHost: '[2001:db8::2]:4500',
    localId: 'mesh',
    remoteId: 'branch',
    encryption: 'AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519',
    nat: true,
    ageSeconds: 12,
    rekeySeconds: 800,
    children: [
      {
        name: 'net',
        state: 'INSTALLED',
        spiIn: 'c0ffee00',
        spiOut: 'deadbeef',
        encryption: 'AES_CBC-128/HMAC_SHA2_256_128',
        localSubnets: ['10.77.0.0/16'],
        remoteSubnets: ['10.50.0.0/24'],
        bytesIn: 840,
        bytesOut: 0,
        packetsIn: 10,
        packetsOut: 0,
        ageSeconds: 3,
        rekeySeconds: undefined,
        lifeSeconds: 0,
      },
    ],
  })
})

test('an IKE SA that ends is as good as gone, whatever a list has of it', () => {
  const ending = sectionsOf(
    decodeMessage(encodeMessage({ a: { state: 'DELETING', 'child-sas': child('1') } })),
  )[0]
  carrying.updown(sa('a', child('1')), true)
  carrying.updown(sa('a', child('1')), false)
  carrying.replace([ending])
  assert.deepEqual(said, ['up a', 'down a'])
  carrying.replace([ending, sa('a', child('2'))])
  assert.deepEqual(said, ['up a', 'down a', 'up a'])
})
