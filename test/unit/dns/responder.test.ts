// Bytes in, bytes out: who is answered, and how.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'dns-packet'
import { MAX_UDP_ANSWER } from '../../../node/dns/message.ts'
import { Responder, type ResponderInit } from '../../../node/dns/responder.ts'
import { ip, names, question, read } from './ask.ts'

const CLIENT = ip('10.77.0.9')

type Asked = Parameters<ResponderInit['ask']>

function responder(change: Partial<ResponderInit> = {}) {
  const asked: Asked[] = []
  const made = new Responder({
    names: () => names({ web: '10.77.0.5' }),
    admits: () => true,
    mayAsk: () => true,
    forwards: () => false,
    ask: async (...args) => void asked.push(args) as undefined,
    random: size => new Uint8Array(size).fill(0xab),
    ...change,
  })
  return { made, asked, ask: (bytes: Uint8Array, tcp = false) => made.answer(bytes, CLIENT, tcp) }
}

/** A resolver's answer to what it was sent. */
function resolved(query: Uint8Array, records = 1): Buffer {
  const { id, questions } = read(query)
  const answers = Array.from({ length: records }, (_, i) => ({
    name: questions![0].name,
    type: 'A' as const,
    ttl: 60,
    data: `192.0.2.${i & 255}`,
  }))
  return encode({ type: 'response', id, flags: 0x180, questions, answers })
}

test('an answer repeats the question as it was asked, and is authoritative', async () => {
  const { ask, made } = responder()
  const answer = read(await ask(question('wEb.prod.internal', 'A', { id: 77 })))
  assert.equal(answer.id, 77)
  assert.ok(answer.flag_qr && answer.flag_aa && answer.flag_rd && !answer.flag_ra && !answer.flag_tc)
  assert.equal(answer.rcode, 'NOERROR')
  assert.deepEqual(answer.questions, [{ name: 'wEb.prod.internal', type: 'A', class: 'IN' }])
  assert.deepEqual(
    answer.answers!.map(each => 'data' in each && each.data),
    ['10.77.0.5'],
  )
  assert.equal(answer.additionals!.length, 0, 'no EDNS for those who have none')
  assert.equal(made.counters.dnsQueries, 1)
})

test('what there is not is told with the SOA, what is not the overlay’s is refused', async () => {
  const { ask, made } = responder()
  const missing = read(await ask(question('no.prod.internal', 'A')))
  assert.deepEqual([missing.rcode, missing.authorities![0].type], ['NXDOMAIN', 'SOA'])
  const empty = read(await ask(question('web.prod.internal', 'UNKNOWN_65')))
  assert.deepEqual([empty.rcode, empty.answers!.length, empty.flag_aa], ['NOERROR', 0, true])
  const outside = read(await ask(question('example.net', 'A')))
  assert.deepEqual([outside.rcode, outside.flag_aa, outside.flag_ra], ['REFUSED', false, false])
  assert.equal(read(await ask(question('prod.internal', 'AXFR'), true)).rcode, 'REFUSED')
  assert.equal(read(await ask(question('web.prod.internal', 'A', { class: 'CH' }))).rcode, 'REFUSED')
  assert.equal(made.counters.dnsRefused, 3)
})

test('a mesh without DNS refuses all', async () => {
  const { ask } = responder({ names: () => undefined, forwards: () => true })
  assert.equal(read(await ask(question('web.prod.internal', 'A'))).rcode, 'REFUSED')
  assert.equal(read(await ask(question('example.net', 'A'))).rcode, 'REFUSED')
})

test('EDNS is answered with EDNS, and versions that are not known are told so', async () => {
  const { ask } = responder()
  const [opt] = read(await ask(question('web.prod.internal', 'A', { edns: 4096 }))).additionals!
  assert.ok(opt.type === 'OPT' && opt.udpPayloadSize === MAX_UDP_ANSWER && opt.ednsVersion === 0)
  const answer = read(await ask(question('web.prod.internal', 'A', { edns: 4096, ednsVersion: 1 })))
  const [bad] = answer.additionals!
  assert.ok(bad.type === 'OPT' && bad.extendedRcode === 1, 'BADVERS is 16')
  assert.equal(answer.answers!.length, 0)
})

test('strangers and those who ask too often get nothing', async () => {
  const query = question('web.prod.internal', 'A')
  const foreign = responder({ admits: () => false })
  assert.equal(await foreign.ask(query), undefined)
  assert.equal(foreign.made.counters.dnsForeign, 1)
  const limited = responder({ mayAsk: () => false })
  assert.equal(await limited.ask(query), undefined)
  assert.equal(limited.made.counters.dnsLimited, 1)
})

test('what is no query is told so, or not answered at all', async () => {
  const { ask, made } = responder()
  const query = question('web.prod.internal', 'A')
  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(query)
    change(bytes)
    return bytes
  }
  assert.equal(await ask(query.subarray(0, 11)), undefined)
  assert.equal(await ask(changed(bytes => bytes.writeUInt16BE(0x8180, 2))), undefined, 'an answer')
  const cases: [string, Buffer, string][] = [
    ['another opcode', changed(bytes => bytes.writeUInt16BE(0x2800, 2)), 'NOTIMP'],
    ['no question', changed(bytes => bytes.writeUInt16BE(0, 4)), 'FORMERR'],
    ['65,535 questions', changed(bytes => bytes.writeUInt16BE(0xffff, 4)), 'FORMERR'],
    ['answers', changed(bytes => bytes.writeUInt16BE(1, 6)), 'FORMERR'],
    ['65,535 additional records', changed(bytes => bytes.writeUInt16BE(0xffff, 10)), 'FORMERR'],
    ['one that is not there', changed(bytes => bytes.writeUInt16BE(1, 10)), 'FORMERR'],
    ['a name that points at itself', changed(bytes => bytes.writeUInt16BE(0xc00c, 12)), 'FORMERR'],
    ['cut short', query.subarray(0, query.length - 1), 'FORMERR'],
    ['too long', Buffer.concat([query, Buffer.alloc(5000)]), 'FORMERR'],
    ['a label with a dot in it', changed(bytes => bytes.write('w.b', 13)), 'FORMERR'],
    ['a label that is not text', changed(bytes => bytes.writeUInt8(0xff, 14)), 'FORMERR'],
  ]
  for (const [what, bytes, rcode] of cases) {
    const answer = await ask(bytes)
    assert.equal(answer?.length, 12, what)
    assert.equal(read(answer).rcode, rcode, what)
    assert.equal(read(answer).id, 4711)
  }
  assert.equal(made.counters.dnsMalformed, cases.length + 2)
})

test('other names are asked of the resolvers, under another id, and their answer is passed on', async () => {
  const sent: Buffer[] = []
  const { ask, made } = responder({
    forwards: () => true,
    ask: async (query, tcp, accepts) => {
      assert.equal(tcp, false)
      sent.push(Buffer.from(query))
      const answer = resolved(query)
      const forged = Buffer.from(answer)
      forged.writeUInt16BE(1, 0)
      assert.ok(!accepts(forged), 'another id')
      assert.ok(!accepts(query), 'a query')
      assert.ok(!accepts(resolved(question('evil.example.net', 'A', { id: 0xabab }))), 'another question')
      assert.ok(!accepts(answer.subarray(0, 20)), 'cut short')
      assert.ok(accepts(answer))
      return answer
    },
  })
  const answer = read(await ask(question('example.net', 'A', { id: 5 })))
  assert.equal(sent[0].readUInt16BE(0), 0xabab)
  assert.equal(answer.id, 5)
  assert.deepEqual(
    answer.answers!.map(each => 'data' in each && each.data),
    ['192.0.2.0'],
  )
  assert.equal(made.counters.dnsForwarded, 1)
  const own = read(await ask(question('web.prod.internal', 'A')))
  assert.ok(own.flag_ra, 'who asks resolvers says so')
  assert.equal(sent.length, 1, 'the overlay’s own names are not asked for elsewhere')
  assert.equal(read(await ask(question('no.prod.internal', 'A'))).rcode, 'NXDOMAIN')
  assert.equal(sent.length, 1)
})

test('an answer that is too long for UDP is cut, and whole by TCP', async () => {
  const { ask } = responder({ forwards: () => true, ask: async query => resolved(query, 60) })
  const small = await ask(question('example.net', 'A'))
  const cut = read(small)
  assert.ok(small!.length <= 512 && cut.flag_tc)
  assert.deepEqual([cut.questions!.length, cut.answers!.length], [1, 0])
  const large = await ask(question('example.net', 'A', { edns: 65_000 }))
  assert.ok(large!.length <= MAX_UDP_ANSWER && read(large).flag_tc)
  const whole = read(await ask(question('example.net', 'A'), true))
  assert.deepEqual([whole.flag_tc, whole.answers!.length], [false, 60])
  const fits = responder({ forwards: () => true, ask: async query => resolved(query, 30) })
  assert.equal(read(await fits.ask(question('example.net', 'A', { edns: 1232 }))).answers!.length, 30)
})

test('when no resolver answers, that is told', async () => {
  const { ask, made } = responder({ forwards: () => true })
  assert.equal(read(await ask(question('example.net', 'A'))).rcode, 'SERVFAIL')
  assert.equal(made.counters.dnsFailed, 1)
})

test('one source has only so many queries under way', async () => {
  const waiting: (() => void)[] = []
  const { made } = responder({
    forwards: () => true,
    ask: query => new Promise(resolve => waiting.push(() => resolve(resolved(query)))),
  })
  const query = question('example.net', 'A')
  const all = Array.from({ length: 100 }, () => made.answer(query, CLIENT, false))
  const other = made.answer(query, ip('10.77.0.10'), false)
  assert.equal(waiting.length, 65, 'another source is not concerned')
  for (const each of waiting) each()
  const codes = (await Promise.all(all)).map(answer => read(answer).rcode)
  assert.equal(codes.filter(code => code === 'SERVFAIL').length, 36)
  assert.equal(read(await other).rcode, 'NOERROR')
  const again = made.answer(query, CLIENT, false)
  waiting.at(-1)!()
  assert.equal(read(await again).rcode, 'NOERROR')
})
