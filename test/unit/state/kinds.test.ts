import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isName, KINDS, parseSerial, routeId, valueProblem } from '../../../state/kinds.ts'
import { clientId, clientValue, controllerValue, identity, MESH_ID, meshValue, START } from './samples.ts'

test('names', () => {
  for (const name of ['a', '0', 'web-1.example_x', 'a'.repeat(63)]) assert.equal(isName(name), true, name)
  for (const name of ['', 'A', '-a', '.a', 'a b', 'ä', 'a'.repeat(64), 'a\n', 'a~b'])
    assert.equal(isName(name), false, name)
})

test('serial numbers have one form', () => {
  assert.equal(parseSerial('00:AB:CD'), 'abcd')
  assert.equal(parseSerial('0A'), 'a')
  for (const text of ['', '0', '00', 'xyz', 'f'.repeat(41), 'f'.repeat(100)])
    assert.equal(parseSerial(text), undefined)
})

test('good values pass', () => {
  assert.equal(valueProblem('mesh', MESH_ID, meshValue()), undefined)
  assert.equal(valueProblem('controller', identity(1).id, controllerValue(1)), undefined)
  assert.equal(valueProblem('client', clientId(1), clientValue(1)), undefined)
  const route = { cidr: '192.168.0.0/16', via: { kind: 'internet' }, metric: 0, createdAt: START } as const
  assert.equal(valueProblem('route', routeId(route), route), undefined)
  assert.equal(valueProblem('setting', 'dns.servers', { value: ['192.0.2.1'] }), undefined)
})

test('what does not fit is refused with the reason', () => {
  const cases: [string, Parameters<typeof valueProblem>][] = [
    ['must have required', ['client', clientId(1), {}]],
    ['schema is false', ['client', clientId(1), { ...clientValue(1), extra: 1 }]],
    ['must match pattern', ['client', clientId(1), clientValue(1, { name: 'Bad Name' })]],
    ['is no IPv4 address', ['client', clientId(1), clientValue(1, { address: '10.77.0.256' })]],
    [
      'has host bits; the prefix is 192.168.1.0/24',
      ['client', clientId(1), clientValue(1, { subnets: ['192.168.1.7/24'] })],
    ],
    ['is no client id', ['client', 'x', clientValue(1)]],
    ['not that of its key', ['controller', identity(2).id, controllerValue(1)]],
    [
      'no port between',
      ['controller', identity(1).id, controllerValue(1, { publicEndpoints: ['host:70000'] })],
    ],
    ['is no IPv4 address', ['lease', '10.077.0.1', { holder: clientId(1), holderKind: 'client' }]],
    ['is no revocation id', ['revocation', '0ab', { client: clientId(1), reason: '', at: 0 }]],
    [
      'is not that of its value',
      [
        'route',
        '10.0.0.0/8|internet',
        { cidr: '10.0.0.0/9', via: { kind: 'internet' }, metric: 0, createdAt: 0 },
      ],
    ],
  ]
  for (const [reason, given] of cases) {
    const problem = valueProblem(...given)
    assert.ok(problem?.includes(reason), `${reason}: ${problem}`)
  }
})

test('nothing that is no value of a kind throws or passes', () => {
  for (const kind of KINDS) {
    for (const value of [undefined, null, 0, 'x', [], {}, Object.create(null), { value: Number.NaN }, 1n]) {
      assert.notEqual(valueProblem(kind, 'x', value), undefined, kind)
    }
  }
})
