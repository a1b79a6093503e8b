// ESP that comes before its association.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { EarlyEsp, LINGER_MS } from '../../../node/ipsec/strongswan/early-esp.ts'
import { MAX_WAITING, WaitingEsp } from '../../../node/ipsec/strongswan/waiting-esp.ts'

const DEVICE = '192.0.2.7'
const END = '192.0.2.1'
const SPI = 'c0ffee01'
const OTHER = 'c0ffee02'

const esp = (spi: string, sequence: number, length = 64): Buffer => {
  const packet = Buffer.alloc(length)
  packet.write(spi, 'hex')
  packet.writeUInt32BE(sequence, 4)
  return packet
}

test('what comes for an association waits for it, in order, and then goes on at once', () => {
  const waiting = new WaitingEsp()
  for (const sequence of [1, 2]) assert.equal(waiting.came(esp(SPI, sequence)), undefined)
  assert.equal(waiting.came(esp(OTHER, 1)), undefined)
  assert.deepEqual(waiting.installed(SPI, END), [esp(SPI, 1), esp(SPI, 2)])
  assert.equal(waiting.came(esp(SPI, 3)), END)
  assert.equal(waiting.came(esp(OTHER, 2)), undefined)
  assert.equal(waiting.installed(OTHER, END).length, 2)
})

test('what is no ESP does not wait, and what waits has a bound, small packets too', () => {
  const waiting = new WaitingEsp()
  waiting.installed('00000000', END)
  for (const packet of [Buffer.alloc(0), Buffer.alloc(1, 255), esp(SPI, 1, 8), esp('00000000', 1)])
    assert.equal(waiting.came(packet), undefined)
  assert.deepEqual(waiting.installed(SPI, END), [])
  for (const length of [9, 1400]) {
    for (let sequence = 0; sequence < 20_000; sequence++) waiting.came(esp(OTHER, sequence, length))
    const held = waiting.installed(OTHER, END)
    assert.ok(held.length > 1000 && held.length * length < MAX_WAITING, `${held.length} of ${length}`)
    assert.ok(held.length <= MAX_WAITING / 256)
    waiting.clear()
  }
})

function bench({ code = 0, hasIpv6 = true } = {}) {
  const rulesets: string[] = []
  const sent: string[] = []
  const open = new Map<number, (packet: Uint8Array, from: string) => void>()
  const early = new EarlyEsp(
    {
      run: async (_program, _args, input = '') => {
        rulesets.push(input)
        return { code, stdout: '', stderr: '', missing: false }
      },
    },
    async (family, onPacket) => {
      if (family === 6 && !hasIpv6) throw new Error('EAFNOSUPPORT')
      open.set(family, onPacket)
      return {
        port: 40_000 + family,
        send: (packet, host) => sent.push(`${Buffer.from(packet).readUInt32BE(4)} to ${host}`),
        close: () => open.delete(family),
      }
    },
  )
  const come = (packet: Uint8Array, from = DEVICE) => open.get(from.includes(':') ? 6 : 4)?.(packet, from)
  return { early, rulesets, sent, open, come }
}

test('while a tunnel is dialled, unknown ESP of its device goes round by this process until its child SA is there', async t => {
  const { early, rulesets, sent, open, come } = bench()
  t.after(() => early.stop())
  await early.hold('one', [DEVICE], ['aabbccdd'], 1)
  assert.match(
    rulesets[0],
    /ip saddr @sites4 udp dport 4500 @th,64,32 != \{ 0, 0xaabbccdd \} udp dport set 40004/,
  )
  // A controller that is killed leaves nothing behind for long.
  assert.match(rulesets[0], /192\.0\.2\.7 timeout 20s/)
  come(esp(SPI, 1))
  come(esp(SPI, 99), '192.0.2.8')
  assert.deepEqual(sent, [])
  early.installed('one', SPI, END)
  come(esp(SPI, 2))
  assert.deepEqual(sent, [`1 to ${END}`, `2 to ${END}`])
  await early.release('one')
  assert.equal(rulesets.length, 2)
  assert.doesNotMatch(rulesets[1], /dport/)
  // Some are on their way yet.
  come(esp(SPI, 3))
  assert.equal(sent.length, 3)
  await early.stop()
  assert.equal(open.size, 0)
})

test('an association of another tunnel that is rekeyed meanwhile is passed on, and holds nothing up', async t => {
  const { early, sent, come } = bench()
  t.after(() => early.stop())
  await early.hold('one', [DEVICE], [], 1)
  early.installed('another', OTHER, END)
  come(esp(OTHER, 1))
  come(esp(SPI, 7))
  assert.deepEqual(sent, [`1 to ${END}`])
  early.installed('one', SPI, END)
  assert.deepEqual(sent, [`1 to ${END}`, `7 to ${END}`])
})

test('of several child SAs all are awaited', async t => {
  const { early, rulesets } = bench()
  t.after(() => early.stop())
  await early.hold('one', [DEVICE], [], 2)
  early.installed('one', SPI, END)
  assert.equal(early.isHeld('one'), true)
  await early.hold('two', [DEVICE, '2001:db8::7'], [], 1)
  assert.match(rulesets[1], /0xc0ffee01/)
  assert.match(rulesets[1], /ip6 saddr @sites6 .* set 40006/)
  early.installed('one', OTHER, END)
  assert.equal(early.isHeld('one'), false)
  await early.release('two')
  assert.doesNotMatch(rulesets.at(-1)!, /dport/)
})

test('without nft, or without the family, nothing is held', async t => {
  const { early, open } = bench({ code: 1 })
  t.after(() => early.stop())
  await early.hold('one', [DEVICE], [], 1)
  assert.equal(open.size, 0)
  const without = bench({ hasIpv6: false })
  t.after(() => without.early.stop())
  await without.early.hold('one', ['2001:db8::7'], [], 1)
  assert.deepEqual(without.rulesets, [])
})

test('what came while this process stood still is sent on before its socket is closed', async t => {
  const sockets = [createSocket('udp4'), createSocket('udp4')]
  t.after(() => sockets.map(socket => socket.close()))
  const [end, device] = sockets
  end.bind(4500, '127.0.0.77')
  device.bind(0, '127.0.0.78')
  await Promise.all(sockets.map(socket => once(socket, 'listening')))
  let ruleset = ''
  const early = new EarlyEsp({
    run: async (_program, _args, input = '') => {
      ruleset = /dport set/.test(input) ? input : ruleset
      return { code: 0, stdout: '', stderr: '', missing: false }
    },
  })
  t.after(() => early.stop())
  await early.hold('one', ['127.0.0.78'], [], 1)
  device.connect(Number(/dport set (\d+)/.exec(ruleset)![1]), '127.0.0.1')
  await once(device, 'connect')
  early.installed('one', SPI, '127.0.0.77')
  await early.release('one')
  const arrived = once(end, 'message', { signal: AbortSignal.timeout(5000) })
  // Timers come next in a turn of the event loop, and then packets.
  await setImmediate()
  device.send(esp(SPI, 1))
  for (const until = performance.now() + 2 * LINGER_MS; performance.now() < until; );
  const [packet] = (await arrived) as [Buffer]
  assert.equal(packet.readUInt32BE(4), 1)
})
