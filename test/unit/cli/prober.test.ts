import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readEchoAnswer } from '../../../node/cli/echo.ts'
import { type Connection, Prober, type ProberInit, type TunnelEvents } from '../../../node/cli/prober.ts'
import { echoRequest } from '../../../node/vpn/client-echo.ts'
import { parseIpv4 } from '../../../state/address.ts'

const connection: Connection = {
  address: '10.77.0.5',
  remote: '192.0.2.1:1194',
  tls: 'TLSv1.3',
  cipher: 'AES-256-GCM',
  keyDerivation: 'tls-ekm',
  routes: [],
  options: ['topology subnet'],
}

/** Two probers whose tunnels lead to each other. */
function link(left: Partial<ProberInit>, right: Partial<ProberInit> = {}) {
  const events: TunnelEvents[] = []
  const sent: Uint8Array[][] = [[], []]
  const open = (self: number) => (own: TunnelEvents) => {
    events[self] = own
    return {
      send: (packet: Uint8Array) => {
        sent[self].push(packet)
        queueMicrotask(() => events[1 - self].packet(packet))
      },
      close: async () => {},
    }
  }
  const probers = [left, right].map((init, self) => new Prober({ open: open(self), identifier: 1, ...init }))
  return { probers, events, sent }
}

test('pings, is answered and answers; done when all is', async () => {
  const { probers, events, sent } = link({ ping: '10.77.0.9', count: 3, interval: 1 })
  assert.equal(probers[0].state, 'connecting')
  events[1].connected({ ...connection, address: '10.77.0.9' })
  events[0].connected(connection)
  assert.equal(await probers[0].finished, true)
  assert.equal(probers[0].summary?.received, 3)
  assert.equal(probers[1].echoes, 3)
  assert.equal(sent[1].length, 3)
  await Promise.all(probers.map(prober => prober.close()))
})

test('a way to fail is told once between two connections, and known at the end', async () => {
  const told: string[] = []
  const { probers, events } = link({ retrying: reason => told.push(reason) })
  for (const reason of ['a: no answer', 'b: there is no such host', 'a: no answer'])
    events[0].retrying(reason)
  assert.deepEqual(told, ['a: no answer', 'b: there is no such host'])
  assert.equal(probers[0].lastRefusal, 'a: no answer')
  events[0].connected(connection)
  assert.equal(probers[0].lastRefusal, undefined)
  events[0].retrying('a: no answer')
  assert.equal(told.length, 3)
  assert.equal(probers[0].lastRefusal, undefined, 'it was let in')
  assert.equal(probers[0].losses, 1)
  await Promise.all(probers.map(prober => prober.close()))
})

test('pings and answers over IPv6 where the overlay has it, and says where it has not', async () => {
  const { probers, events } = link({ ping: 'fd00::a4d:9', count: 3, interval: 1 })
  events[1].connected({ ...connection, address: '10.77.0.9', address6: 'fd00::a4d:9' })
  events[0].connected({ ...connection, address6: 'fd00::a4d:5' })
  assert.equal(await probers[0].finished, true)
  assert.equal(probers[0].summary?.received, 3)
  assert.equal(probers[1].echoes, 3)
  await Promise.all(probers.map(prober => prober.close()))
  const four = link({ ping: 'fd00::a4d:9' })
  four.events[0].connected(connection)
  assert.equal(await four.probers[0].finished, false)
  assert.match(four.probers[0].reason ?? '', /no IPv6; ping an IPv4 address/)
  await Promise.all(four.probers.map(prober => prober.close()))
})

test('what is no ping is not answered, and nothing makes it throw', async () => {
  const { probers, events, sent } = link({})
  events[0].connected(connection)
  const request = echoRequest(parseIpv4('10.77.0.9')!, parseIpv4('10.77.0.5')!, 4, 2)
  for (let length = 0; length < request.length; length++) events[0].packet(request.subarray(0, length))
  events[0].packet(new Uint8Array(2000).fill(0x45))
  assert.equal(sent[0].length, 0)
  events[0].packet(request)
  assert.equal(readEchoAnswer(sent[0][0])?.sequence, 2)
  assert.equal(probers[0].echoes, 1)
  await probers[0].close()
})

test('goes on pinging after a reconnection, and counts the loss', async () => {
  const { probers, events, sent } = link({ ping: '10.77.0.9', interval: 1 })
  events[0].connected(connection)
  events[0].retrying('the controller restarts')
  assert.equal(probers[0].state, 'connecting')
  events[0].connected(connection)
  assert.equal(probers[0].losses, 1)
  const before = sent[0].length
  while (sent[0].length < before + 3) await new Promise(resolve => setTimeout(resolve, 2))
  await probers[0].close()
})

test('ends with the reason of the controller', async () => {
  const { probers, events } = link({ ping: '10.77.0.9' })
  events[0].ended('refused: the credential is revoked')
  assert.equal(await probers[0].finished, false)
  assert.equal(probers[0].state, 'ended')
  assert.equal(probers[0].reason, 'refused: the credential is revoked')
})
