// DNS messages of strangers: an answer that repeats the question, within its limit, or none.
import assert from 'node:assert/strict'
import { decode } from 'dns-packet'
import { answersQuery, MAX_UDP_ANSWER, readQuery, refuseUnread, writeAnswer } from '../../node/dns/message.ts'
import { answerFromZone } from '../../node/dns/zone.ts'
import { names, question } from '../unit/dns/ask.ts'
import { fuzz } from './mutate.ts'

const VIEW = names({ web: '10.77.0.5', 'db.eu': '10.77.0.6' })
const QUERIES = [
  question('web.prod.internal', 'A'),
  question('db.eu.prod.internal', 'ANY', { edns: 1232 }),
  question('5.0.77.10.in-addr.arpa', 'PTR', { edns: 512 }),
  question('example.net', 'UNKNOWN_65', { flags: 0x110 }),
  question(`${'a'.repeat(63)}.${'b'.repeat(63)}.prod.internal`, 'TXT'),
]

fuzz({
  name: 'DNS queries',
  corpus: QUERIES.map(query => new Uint8Array(query)),
  check: input => {
    const query = readQuery(input)
    if (query === undefined) return
    if (typeof query === 'number') {
      assert.equal(refuseUnread(input, query).length, 12)
      return
    }
    const { name, type } = query.question
    const zone = answerFromZone(name, type, VIEW)
    const rcode = zone === undefined ? 5 : zone.missing ? 3 : 0
    const answer = writeAnswer(query, { ...zone, rcode }, 512)
    assert.ok(answer.length <= 512)
    const { id, questions } = decode(answer)
    assert.equal(id, query.id)
    assert.deepEqual(questions, [query.question])
    assert.ok(answer.subarray(12, query.questionEnd).equals(input.subarray(12, query.questionEnd)))
  },
})

fuzz({
  name: 'answers of resolvers',
  corpus: QUERIES.map(query => {
    const parsed = readQuery(query)
    assert.ok(typeof parsed === 'object')
    return new Uint8Array(writeAnswer(parsed, { rcode: 0 }, MAX_UDP_ANSWER))
  }),
  check: input => {
    for (const query of QUERIES) {
      const { questionEnd } = readQuery(query) as { questionEnd: number }
      if (!answersQuery(input, 4711, query, questionEnd)) continue
      assert.equal(input[2] & 0x80, 0x80)
      assert.equal(input[0] * 256 + input[1], 4711)
    }
  },
})
