import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerFromZone, type NameView } from '../../../node/dns/zone.ts'
import { parseCidr6 } from '../../../state/address6.ts'
import { ip, names } from './ask.ts'

const TABLE = { web: '10.77.0.5', 'db.eu': '10.77.0.6', alpha: '10.77.255.1' }
const view = names(TABLE)
const both: NameView = { ...view, subnet6: parseCidr6('fd00:77::/64') }

/** `NXDOMAIN`, `NODATA`, `outside`, or the data of the answers with their types. */
function ask(name: string, type: string, of: NameView = view): string {
  const answer = answerFromZone(name, type, of)
  if (answer === undefined) return 'outside'
  const { missing, answers, authorities } = answer
  if (answers.length === 0) {
    assert.equal(authorities.length, 1, 'who may keep that there is nothing is told for how long')
    assert.equal(authorities[0].type, 'SOA')
    return `${missing ? 'NXDOMAIN' : 'NODATA'} of ${authorities[0].name}`
  }
  assert.equal(authorities.length, 0)
  assert.ok(answers.every(each => each.name === name))
  return answers
    .map(each => `${each.type} ${'data' in each && typeof each.data === 'string' ? each.data : '-'}`)
    .join()
}

test('names have addresses, in whatever case they are asked for', () => {
  assert.equal(ask('web.prod.internal', 'A'), 'A 10.77.0.5')
  assert.equal(ask('WEB.Prod.INTERNAL', 'A'), 'A 10.77.0.5')
  assert.equal(ask('db.eu.prod.internal', 'A'), 'A 10.77.0.6')
  assert.equal(ask('web.prod.internal', 'ANY'), 'A 10.77.0.5')
})

test('what there is no record of is told from what there is no name of', () => {
  assert.equal(ask('web.prod.internal', 'AAAA'), 'NODATA of prod.internal')
  assert.equal(ask('web.prod.internal', 'MX'), 'NODATA of prod.internal')
  assert.equal(ask('nobody.prod.internal', 'A'), 'NXDOMAIN of prod.internal')
  assert.equal(ask('x.web.prod.internal', 'A'), 'NXDOMAIN of prod.internal', 'no wildcards')
  assert.equal(ask('eu.prod.internal', 'A'), 'NODATA of prod.internal', 'db.eu is below it (RFC 8020)')
})

test('the domain itself is the gateway, and has what a zone has', () => {
  assert.equal(ask('prod.internal', 'A'), 'A 10.77.0.1')
  assert.equal(ask('prod.internal', 'NS'), 'NS prod.internal')
  assert.equal(ask('prod.internal', 'SOA'), 'SOA -')
  assert.equal(ask('prod.internal', 'TXT'), 'NODATA of prod.internal')
})

test('other names are not the overlay’s', () => {
  for (const name of [
    'example.net',
    'internal',
    'xprod.internal',
    'prod.internal.net',
    'web.test.internal',
    '.',
    'localhost',
  ])
    assert.equal(ask(name, 'A'), 'outside', name)
})

test('with IPv6 in the overlay every name has both addresses', () => {
  assert.equal(ask('web.prod.internal', 'AAAA', both), 'AAAA fd00:77::a4d:5')
  assert.equal(ask('web.prod.internal', 'ANY', both), 'A 10.77.0.5,AAAA fd00:77::a4d:5')
  assert.equal(ask('prod.internal', 'AAAA', both), 'AAAA fd00:77::a4d:1')
})

/** `ip6.arpa` of the first so many half octets of an address in whole words. */
function reverse6(words: string, count = 32): string {
  const nibbles = words.split(':').map(each => each.padStart(4, '0'))
  return `${[...nibbles.join('').slice(0, count)].reverse().join('.')}.ip6.arpa`
}

test('IPv6 addresses have names, too', () => {
  const apex = reverse6('fd00:77:0:0', 16)
  const web = reverse6('fd00:77:0:0:0:0:a4d:5')
  assert.equal(ask(web, 'PTR', both), 'PTR web.prod.internal')
  assert.equal(ask(web.toUpperCase(), 'PTR', both), 'PTR web.prod.internal')
  assert.equal(ask(reverse6('fd00:77:0:0:0:0:a4d:1'), 'PTR', both), 'PTR prod.internal')
  assert.equal(ask(reverse6('fd00:77:0:0:0:0:a4d:ff01'), 'PTR', both), 'PTR alpha.prod.internal')
  for (const nobody of ['0:0:a4d:7', '0:0:a4e:5', '0:1:a4d:5'])
    assert.equal(ask(reverse6(`fd00:77:0:0:${nobody}`), 'PTR', both), `NXDOMAIN of ${apex}`, nobody)
  assert.equal(ask(web, 'AAAA', both), `NODATA of ${apex}`)
  assert.equal(ask(`x.${web}`, 'PTR', both), `NXDOMAIN of ${apex}`)
  assert.equal(ask(reverse6('fd00:77:0:0:0:0', 24), 'PTR', both), `NODATA of ${apex}`)
  assert.deepEqual([ask(apex, 'SOA', both), ask(apex, 'NS', both)], ['SOA -', 'NS prod.internal'])
  assert.equal(ask(apex, 'PTR', both), `NODATA of ${apex}`)
  for (const other of [reverse6('fd00:78:0:0:0:0:a4d:5'), reverse6('fd00:77', 8), 'ip6.arpa', 'x.ip6.arpa'])
    assert.equal(ask(other, 'PTR', both), 'outside', other)
  assert.equal(ask(web, 'PTR'), 'outside')
  const narrow: NameView = { ...view, subnet6: parseCidr6('fd00:77::/66') }
  const first = reverse6('fd00:77:0:0:0', 17)
  assert.equal(ask(web, 'PTR', narrow), 'PTR web.prod.internal')
  assert.equal(ask(reverse6('fd00:77:0:0:0:0:a4d:7'), 'PTR', narrow), `NXDOMAIN of ${first}`)
  assert.equal(ask(reverse6('fd00:77:0:0:4000:0:a4d:5'), 'PTR', narrow), 'outside')
})

test('addresses have names', () => {
  assert.equal(ask('5.0.77.10.in-addr.arpa', 'PTR'), 'PTR web.prod.internal')
  assert.equal(ask('5.0.77.10.IN-ADDR.ARPA', 'PTR'), 'PTR web.prod.internal')
  assert.equal(ask('1.0.77.10.in-addr.arpa', 'PTR'), 'PTR prod.internal')
  assert.equal(ask('7.0.77.10.in-addr.arpa', 'PTR'), 'NXDOMAIN of 77.10.in-addr.arpa')
  assert.equal(ask('5.0.77.10.in-addr.arpa', 'A'), 'NODATA of 77.10.in-addr.arpa')
  assert.equal(ask('x.5.0.77.10.in-addr.arpa', 'PTR'), 'NXDOMAIN of 77.10.in-addr.arpa')
  assert.equal(ask('0.77.10.in-addr.arpa', 'PTR'), 'NODATA of 77.10.in-addr.arpa')
  assert.equal(ask('77.10.in-addr.arpa', 'SOA'), 'SOA -')
  assert.equal(ask('77.10.in-addr.arpa', 'NS'), 'NS prod.internal')
})

test('the reverse of other addresses is not the overlay’s', () => {
  for (const name of [
    '5.0.78.10.in-addr.arpa',
    '10.in-addr.arpa',
    'in-addr.arpa',
    '05.0.77.10.in-addr.arpa',
    '300.77.11.in-addr.arpa',
  ])
    assert.equal(ask(name, 'PTR'), name.startsWith('05') ? 'NXDOMAIN of 77.10.in-addr.arpa' : 'outside', name)
})

test('a subnet that does not end at an octet has several reverse zones, none of which claims too much', () => {
  const twenty = names({ web: '10.77.18.5' }, '10.77.16.0/20')
  assert.equal(ask('5.18.77.10.in-addr.arpa', 'PTR', twenty), 'PTR web.prod.internal')
  assert.equal(ask('6.18.77.10.in-addr.arpa', 'PTR', twenty), 'NXDOMAIN of 18.77.10.in-addr.arpa')
  assert.equal(ask('77.10.in-addr.arpa', 'SOA', twenty), 'outside')
  assert.equal(ask('32.77.10.in-addr.arpa', 'SOA', twenty), 'outside')
  const small = names({ web: '10.77.0.20' }, '10.77.0.16/28')
  assert.equal(ask('20.0.77.10.in-addr.arpa', 'PTR', small), 'PTR web.prod.internal')
  assert.equal(ask('21.0.77.10.in-addr.arpa', 'PTR', small), 'NODATA of 21.0.77.10.in-addr.arpa')
  assert.equal(ask('40.0.77.10.in-addr.arpa', 'PTR', small), 'outside')
})

test('nothing may be kept for longer than a client may be gone', () => {
  const { answers } = answerFromZone('web.prod.internal', 'A', view)!
  const { authorities } = answerFromZone('no.prod.internal', 'A', view)!
  const [soa] = authorities
  assert.ok('ttl' in answers[0] && answers[0].ttl! <= 5)
  assert.ok(soa.type === 'SOA' && soa.ttl! <= 5 && soa.data.minimum! <= 5)
  assert.equal(ip('10.77.0.5'), view.find('web'))
})
