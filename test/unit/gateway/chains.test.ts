import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dropperWords, readChains } from '../../../node/gateway/chains.ts'

const list = (...chains: unknown[]): string =>
  JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...chains.map(chain => ({ chain }))] })
const base = {
  family: 'ip',
  table: 'filter',
  name: 'FORWARD',
  type: 'filter',
  hook: 'forward',
  prio: 0,
  policy: 'drop',
}

test('finds the firewalls that drop what they do not accept, of what is forwarded', () => {
  const { droppers, others } = readChains(
    list(
      { ...base, family: 'bridge' },
      base,
      { ...base, table: 'nat', name: 'POSTROUTING', hook: 'postrouting', policy: 'accept' },
      { ...base, policy: 'accept' },
      { ...base, hook: 'input' },
      { ...base, family: 'ip6' },
      { ...base, family: 'inet', table: 'firewalld' },
      { ...base, family: 'inet', table: 'overmesh-0123456789ab' },
      { ...base, name: 'FOR"; reboot' },
      { family: 'ip', table: 'filter', name: 'DOCKER' },
    ),
  )
  assert.deepEqual(droppers, [
    { family: 'ip', table: 'filter', name: 'FORWARD' },
    { family: 'ip6', table: 'filter', name: 'FORWARD' },
    { family: 'inet', table: 'firewalld', name: 'FORWARD' },
  ])
  assert.ok(others.includes('ip filter FORWARD') && others.includes('ip nat POSTROUTING'))
  assert.ok(!others.some(each => /overmesh|bridge|DOCKER/.test(each)))
  assert.equal(
    dropperWords(droppers[0], 'overmesh0'),
    "the chain FORWARD of the firewall's table ip filter drops what it does not accept, overlay traffic too; let it pass: " +
      'nft insert rule ip filter FORWARD iifname \'"overmesh0"\' accept; nft insert rule ip filter FORWARD oifname \'"overmesh0"\' accept',
  )
})

test('tells the tables of controllers, with the marks in them', () => {
  const chain = (table: string, name: string) => ({ family: 'inet', table, name })
  const { controllers } = readChains(
    list(
      chain('overmesh-a', 'forward'),
      chain('overmesh-b', 'forwards'),
      chain('overmesh-b', 'forward'),
      chain('overmesh-c', 'forwards'),
      chain('overmesh-c', 'forwarding-was-off'),
      chain('other', 'forwards'),
      { ...chain('overmesh-d', 'forwards'), family: 'ip' },
    ),
  )
  assert.deepEqual(Object.fromEntries([...controllers].map(([table, names]) => [table, [...names]])), {
    'overmesh-a': ['forward'],
    'overmesh-b': ['forwards', 'forward'],
    'overmesh-c': ['forwards', 'forwarding-was-off'],
  })
})

test('takes what nft prints where there is nothing', () => {
  for (const text of ['{}', '{"nftables":null}', '{"nftables":[null,7]}', list()]) {
    assert.deepEqual(readChains(text).droppers, [])
  }
})
