// A resolver for the lab: every name has the address 192.0.2.80, but for those that begin with `big`, which have so many that they
// come by TCP only. `dns-resolver.ts ADDRESS`
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { decode, encode, streamDecode, streamEncode, TRUNCATED_RESPONSE } from 'dns-packet'

const [address] = process.argv.slice(2)

function answer(query: ReturnType<typeof decode>, tcp: boolean): Parameters<typeof encode>[0] {
  const name = query.questions?.[0]?.name ?? '.'
  const big = name.startsWith('big')
  const count = big ? (tcp ? 100 : 0) : 1
  return {
    type: 'response',
    id: query.id,
    flags: big && !tcp ? TRUNCATED_RESPONSE : 0,
    questions: query.questions,
    answers: Array.from({ length: count }, (_, i) => ({
      name,
      type: 'A',
      ttl: 60,
      data: `192.0.2.${80 + i}`,
    })),
  }
}

const socket = createSocket('udp4')
socket.on('message', (message, from) =>
  socket.send(encode(answer(decode(message), false)), from.port, from.address),
)
createServer(connection => {
  connection.on('data', chunk => {
    const query = streamDecode(chunk)
    if (query !== null) connection.write(streamEncode(answer(query as ReturnType<typeof decode>, true)))
  })
  connection.on('error', () => {})
}).listen(53, address, () => socket.bind(53, address, () => process.stdout.write('ready\n')))
