// What strangers, eavesdroppers and faulty clients send is dropped and counted, and nobody who is connected notices.
import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { encodeControlBody, encodeHeader, OPCODE } from '../../node/vpn/packet.ts'
import { parseTlsCryptV2ClientKey } from '../../node/vpn/static-key.ts'
import { TlsCrypt } from '../../node/vpn/tls-crypt.ts'
import { Attacker, type Datagram, record } from './attacker.ts'
import { Controller } from './controller.ts'
import { sleep, until } from './lab.ts'
import { inline, OpenvpnClient, replaceInline, writePack } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { StrangersPki } from './strangers-pki.ts'
import { useLab } from './suite.ts'

/** Everything that counts bytes which lead to nothing. */
const DROPPED =
  /badLength|unknown(Opcode|Peer|Key)|badTag|replayed|control(Short|Unexpected|Forged|Replayed|UnknownKey|Malformed)|clientKeyForged|cookieInvalid|resets/
const REFUSED = /sessionsRefused/

/** Resident memory may move so much for any reason; a flood that leaks moves it further. */
const MAX_GROWTH = 100e6

describe('a controller under fire', () => {
  let controller: Controller
  let attacker: Attacker
  let victim: OpenvpnClient
  let peer: OpenvpnClient
  let victimPack: string
  let seen: { from: string; port: number; bytes: Uint8Array }[]

  const use = useLab('hostile', async lab => {
    const hub = await lab.host('hub')
    controller = await Controller.start(hub, { upArgs: ['--log-level', 'warn'] })
    victimPack = await controller.addClient('victim')
    const host = await lab.host('victim')
    seen = await record(host, async () => {
      victim = await OpenvpnClient.connect(host, victimPack)
      await host.exec('ping', '-c', '50', '-i', '0.01', '-W', '2', '10.77.0.1')
    })
    peer = await OpenvpnClient.connect(await lab.host('peer'), await controller.addClient('peer'))
    attacker = await Attacker.on(await lab.host('attacker'), hub)
    await attacker.claimAddresses('198.18.0.0/15')
    await attacker.claimAddresses(`${host.ip4}/32`)
    // Answers to addresses that do not exist have somewhere to go.
    await hub.ip('route', 'add', '198.18.0.0/15', 'via', lab.hosts.get('attacker')!.ip4)
  })

  /** Runs an attack while clients talk; returns by how much the named counters rose. Nothing of theirs may get lost. */
  async function under(attack: () => Promise<unknown>, counter: RegExp): Promise<number> {
    const before = await controller.counter(counter)
    const memory = controller.process.residentBytes()
    const connections = [victim.connections, peer.connections]
    const pings = [
      await Ping.start(victim.host, await peer.address(), { interval: 0.02 }),
      await Ping.start(peer.host, '10.77.0.1', { interval: 0.02 }),
    ]
    await Promise.all(pings.map(ping => ping.answered()))
    await attack()
    await sleep(500)
    for (const ping of pings) {
      const report = await ping.stop()
      assert.equal(report.lost, 0, `${report.lost} of ${report.sent} pings lost`)
      assert.equal(report.duplicates, 0)
      assert.ok(report.silence < 0.5, `silent for ${report.silence} s`)
    }
    assert.deepEqual([victim.connections, peer.connections], connections, 'nobody had to connect again')
    const growth = controller.process.residentBytes() - memory
    assert.ok(growth < MAX_GROWTH, `memory grew by ${growth / 1e6} MB`)
    return (await controller.counter(counter)) - before
  }

  const mine = (): { from: string; port: number; bytes: Uint8Array }[] =>
    seen.filter(packet => packet.from === victim.host.ip4)

  test('random bytes of all lengths, also longer than a packet can be', async () => {
    const datagrams = Array.from({ length: 20_000 }, (_, index): Datagram => {
      const bytes = randomBytes(index % 100 === 0 ? randomInt(2000, 9000) : randomInt(0, 1500))
      // Every other one with a first byte that means something.
      if (index % 2 === 0 && bytes.length > 0) bytes[0] = (randomInt(3, 12) << 3) | randomInt(0, 8)
      return { bytes }
    })
    const dropped = await under(() => attacker.send(datagrams), DROPPED)
    assert.ok(dropped > 15_000, `${dropped} counted`)
  })

  test('valid first packets from addresses that were never asked', async () => {
    const { kc, wkc } = parseTlsCryptV2ClientKey(inline(readFileSync(victimPack, 'utf8'), 'tls-crypt-v2'))!
    const wrap = new TlsCrypt(kc, 'client')
    const datagrams = Array.from({ length: 10_000 }, (_, index): Datagram => {
      const sid = randomBytes(8)
      const packetId = Buffer.alloc(8)
      packetId.writeUInt32BE(0x0f000001, 0)
      packetId.writeUInt32BE(Math.floor(Date.now() / 1000), 4)
      const body = encodeControlBody(OPCODE.hardResetClientV3, {
        acks: [],
        messageId: 0,
        payload: new Uint8Array(),
      })
      const reset = wrap.wrap(encodeHeader(OPCODE.hardResetClientV3, 0, sid), packetId, body)
      return { from: `198.18.${index >> 8}.${index & 255}`, bytes: Buffer.concat([reset, wkc]) }
    })
    const before = (await controller.sessions()).length
    const counted = await under(() => attacker.send(datagrams, 2000), /resets/)
    assert.ok(counted >= 9000, `${counted} counted`)
    assert.equal((await controller.sessions()).length, before)
    // Who has a pack still gets in, right after.
    const pack = await controller.addClient('latecomer')
    const latecomer = await OpenvpnClient.connect(await use.lab.host('latecomer'), pack)
    await latecomer.stop()
  })

  test('everything the victim ever sent, again, from elsewhere and from its own address', async () => {
    const { port } = mine()[0]
    const again = Array.from({ length: 20 }, () => mine()).flat()
    assert.ok(mine().length > 50, `${mine().length} packets recorded`)
    const dropped = await under(async () => {
      await attacker.send(again.map(({ bytes }) => ({ bytes })))
      await attacker.send(again.map(({ bytes }) => ({ from: victim.host.ip4, port, bytes })))
      // Long enough that the victim would have noticed silence, and begun anew.
      await sleep(5000)
    }, DROPPED)
    assert.ok(dropped > again.length, `${dropped} counted of ${2 * again.length}`)
  })

  test('its packets cut short, lengthened and with one bit turned', async () => {
    const { port } = mine()[0]
    const from = victim.host.ip4
    const datagrams: Datagram[] = []
    for (const { bytes } of mine().slice(0, 60)) {
      for (let length = 0; length < bytes.length; length += 1 + (length >> 2))
        datagrams.push({ from, port, bytes: bytes.subarray(0, length) })
      datagrams.push({ from, port, bytes: Buffer.concat([bytes, randomBytes(randomInt(1, 500))]) })
      for (let turn = 0; turn < 20; turn++) {
        const changed = Buffer.from(bytes)
        changed[randomInt(changed.length)] ^= 1 << randomInt(8)
        datagrams.push({ from, port, bytes: changed })
      }
    }
    const dropped = await under(() => attacker.send(datagrams), DROPPED)
    assert.ok(dropped > 0.9 * datagrams.length, `${dropped} counted of ${datagrams.length}`)
  })

  test('a pack with a tls-crypt key that was changed gets no answer', async () => {
    const pack = await controller.addClient('guesser')
    const text = readFileSync(pack, 'utf8')
    const key = inline(text, 'tls-crypt-v2')
    // In the middle of the wrapped key, which only the controllers can read.
    const lines = key.trim().split('\n')
    const middle = lines.length - 4
    lines[middle] = lines[middle].replaceAll(/[A-Ya-y]/g, letter =>
      String.fromCharCode(letter.charCodeAt(0) + 1),
    )
    const host = await use.lab.host('guesser')
    const changed = writePack(
      host,
      'guesser-changed.ovpn',
      replaceInline(text, 'tls-crypt-v2', lines.join('\n')),
    )
    const counted = await under(async () => {
      const packets = await record(host, async () => {
        const client = await OpenvpnClient.start(host, changed)
        await sleep(4000)
        await client.stop()
      })
      assert.ok(packets.length > 0)
      assert.deepEqual(
        packets.filter(packet => packet.from === controller.host.ip4),
        [],
      )
    }, /clientKeyForged/)
    assert.ok(counted > 0)
  })

  /** A pack whose certificate and key are others. */
  async function withCertificate(
    name: string,
    pair: { certificate: string; key: string },
  ): Promise<OpenvpnClient> {
    const pack = await controller.addClient(name)
    const host = await use.lab.host(name)
    const issuing = readFileSync(join(controller.dataDir, 'pki', 'issuing.crt'), 'utf8')
    const cert = replaceInline(readFileSync(pack, 'utf8'), 'cert', `${pair.certificate}\n${issuing}`)
    const changed = writePack(host, `${name}-changed.ovpn`, replaceInline(cert, 'key', pair.key))
    return OpenvpnClient.start(host, changed)
  }

  test('a certificate of a foreign authority is refused', async () => {
    const pki = await StrangersPki.create(join(use.lab.directory, 'foreign'))
    const pair = await pki.issue('foreign', { use: 'clientAuth' })
    const counted = await under(async () => {
      const client = await withCertificate('foreign', pair)
      await client.says(/AUTH_FAILED.*not of this mesh/, 30)
      assert.equal(client.connections, 0)
      await client.stop()
    }, REFUSED)
    assert.ok(counted > 0)
  })

  test('expired certificates, another purpose and serials that were never issued are refused', async () => {
    const pki = StrangersPki.takeOver(
      join(use.lab.directory, 'stolen'),
      join(controller.dataDir, 'pki', 'issuing.crt'),
      join(controller.dataDir, 'pki', 'issuing.key'),
    )
    const expired = await pki.issue('expired', {
      use: 'clientAuth',
      from: '20200101000000Z',
      to: '20200201000000Z',
    })
    const server = await pki.issue('server', { use: 'serverAuth' })
    const unissued = await pki.issue('victim', { use: 'clientAuth' })
    for (const [name, pair, reason] of [
      ['expired', expired, /AUTH_FAILED.*expired/],
      ['purpose', server, /AUTH_FAILED.*not one for clients/],
      ['unissued', unissued, /AUTH_FAILED/],
    ] as const) {
      const counted = await under(async () => {
        const client = await withCertificate(name, pair)
        await client.says(reason, 30)
        assert.equal(client.connections, 0)
        await client.stop()
      }, REFUSED)
      assert.ok(counted > 0, `${name} counted`)
    }
  })

  test('packets from overlay addresses that are not the sender’s are dropped', async () => {
    const stolen = '10.77.200.200'
    await victim.host.ip('address', 'add', `${stolen}/32`, 'dev', 'lo')
    const target = await peer.address()
    const counted = await under(async () => {
      await victim.host.attempt(['ping', '-c', '50', '-i', '0.01', '-W', '1', '-I', stolen, target])
      await victim.host.attempt(['ping', '-c', '50', '-i', '0.01', '-W', '1', '-I', victim.host.ip4, target])
    }, /spoofedSource/)
    assert.ok(counted >= 100, `${counted} counted`)
  })

  test('in the end everything is as it was', async () => {
    await until('only the two clients are connected', async () => (await controller.sessions()).length === 2)
    assert.equal(controller.process.running, true)
    assert.equal(JSON.parse(await controller.cli('state', 'verify', '--json')).ok, true)
  })
})
