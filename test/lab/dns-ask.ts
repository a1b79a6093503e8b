// Asks one DNS question where it is run, as a stub resolver does, and prints what was answered as JSON:
// `dns-ask.ts SERVER NAME TYPE [udp|tcp]`.
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import { type Answer, decode, encode, type RecordType, streamDecode, streamEncode } from 'dns-packet'

export interface DnsReply {
  rcode: string
  authoritative: boolean
  truncated: boolean
  /** Data of the answers; those that are no text as JSON. */
  answers: string[]
}

const [server, name, type, transport = 'udp'] = process.argv.slice(2)
const TIMEOUT = 3000

if (import.meta.main) {
  const query = {
    type: 'query' as const,
    id: process.pid & 0xffff,
    flags: 0x100,
    questions: [{ name, type: type as RecordType }],
  }
  const timer = setTimeout(() => {
    process.stderr.write('no answer\n')
    process.exit(1)
  }, TIMEOUT)
  const done = (reply: ReturnType<typeof decode>): void => {
    clearTimeout(timer)
    if (reply.id !== query.id) throw new Error('the answer to another question')
    const data = (each: Answer) =>
      'data' in each && typeof each.data === 'string' ? each.data : JSON.stringify(each)
    const { rcode } = reply as unknown as { rcode: string }
    const answers = (reply.answers ?? []).map(data)
    const told: DnsReply = { rcode, authoritative: reply.flag_aa, truncated: reply.flag_tc, answers }
    process.stdout.write(JSON.stringify(told), () => process.exit())
  }
  if (transport === 'udp') {
    const socket = createSocket('udp4')
    socket.on('message', message => done(decode(message)))
    socket.connect(53, server, () => socket.send(encode(query)))
  } else {
    let received: Buffer = Buffer.alloc(0)
    const socket = connect(53, server, () => socket.write(streamEncode(query)))
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk])
      const reply = received.length > 1 ? streamDecode(received) : null
      if (reply !== null) done(reply as ReturnType<typeof decode>)
    })
  }
}
