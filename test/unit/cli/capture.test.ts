// The capture command: what it writes where, and how it ends.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { interfaceBlock, packetBlock, sectionBlock, statisticsBlock } from '../../../node/capture/pcapng.ts'
import { packetLine } from '../../../node/cli/packet-line.ts'
import { FakeService } from '../api/fake-service.ts'
import { ip, makePacket } from '../switch-pure/packets.ts'
import { makePacket6 } from '../switch-pure/packets6.ts'
import { type Result, Served, start } from './run.ts'

const TIME = 1_700_000_000_123_456_789n
const udp = Uint8Array.of(0, 53, 0x9c, 0x40, 0, 20, 0, 0)
const PACKET = makePacket({
  source: ip('10.77.0.2'),
  destination: ip('10.77.0.3'),
  protocol: 17,
  payload: udp,
})

const BEGIN = [sectionBlock('Overmesh'), interfaceBlock('tun', '', 0), interfaceBlock('client web', '', 0)]
const packet = (comment?: string) =>
  packetBlock({ interface: 1, time: TIME, bytes: PACKET, length: 1400, direction: 1, comment })
const END = statisticsBlock({
  interface: 0,
  start: 0n,
  end: 1n,
  received: 0,
  lost: 3,
  comment: 'ended: it was; so',
})
const FILE = Buffer.concat([...BEGIN, packet(), packet('dropped: noRoute: no\u001b[2Jroute'), END])

/** Comes in pieces that are no blocks. */
function giving(...content: Buffer[]): FakeService {
  const service = new FakeService('web')
  const bytes = Buffer.concat(content)
  const pieces = Array.from({ length: Math.ceil(bytes.length / 50) }, (_, i) =>
    bytes.subarray(i * 50, i * 50 + 50),
  )
  service.capturing = () => ({ id: 7, content: Readable.from(pieces, { objectMode: false }) })
  return service
}

const bytesOf = ({ stdout }: Result) => Buffer.from(stdout, 'latin1')

test('in a pipe it is pcapng, byte for byte, and figures are told beside it', async () => {
  const service = giving(FILE)
  await using served = await Served.open(service)
  for (const args of [[], ['--out', '-']]) {
    const result = await served.run('capture', ...args)
    assert.equal(result.code, 0, result.stderr)
    assert.deepEqual(bytesOf(result), FILE)
    assert.match(
      result.stderr,
      /^capturing headers only \(--payload takes all\); ends by Ctrl-C, after 60 s or 100000 packets\n/,
    )
    assert.match(result.stderr, /\n2 packets of 2\.8 kB; it was\n3 more were lost: /)
  }
})

test('what is asked for is what the controller is asked for', async () => {
  const service = giving(FILE)
  await using served = await Served.open(service)
  const all =
    '--client web --attachment paris --host 10.77.0.2 --host FD00::1 --net 10.0.0.0/8 --port 53 --proto icmp ' +
    '--dropped --seconds 5 --packets 9 --snap 99'
  await served.run('capture', ...all.split(' '))
  await served.run('capture', '--controller', 'beta', '--proto', '47', '--payload')
  await served.run('capture')
  assert.deepEqual(
    service.calls.filter(([name]) => name === 'capture').map(([, request]) => request),
    [
      {
        client: 'web',
        attachment: 'paris',
        hosts: ['10.77.0.2', 'fd00::1'],
        networks: ['10.0.0.0/8'],
        port: 53,
        protocol: 'icmp',
        dropped: true,
        seconds: 5,
        packets: 9,
        snap: 99,
      },
      { controller: 'beta', protocol: 47, snap: 65_535 },
      {},
    ],
  )
})

test('a file is its owner’s alone, and never replaces another unless told to, nor for nothing', async () => {
  const service = giving(FILE)
  await using served = await Served.open(service)
  const path = join(served.dataDir, 'a.pcapng')
  const first = await served.run('capture', '--out', path)
  assert.equal(first.code, 0, first.stderr)
  assert.match(first.stderr, /2 packets of 2\.8 kB in .*a\.pcapng; it was/)
  assert.deepEqual(readFileSync(path), FILE)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  writeFileSync(path, 'precious', { mode: 0o644 })
  const again = await served.run('capture', '--out', path)
  assert.deepEqual([again.code, again.stdout], [1, ''])
  assert.match(
    again.stderr,
    /^overmesh: .*a\.pcapng exists; choose another file, or replace it with --force\n$/,
  )
  service.capturing = () => {
    throw Object.assign(new Error('no'), { statusCode: 400 })
  }
  assert.equal((await served.run('capture', '--out', path, '--force')).code, 2)
  assert.equal(readFileSync(path, 'utf8'), 'precious')
  const unmade = join(served.dataDir, 'b.pcapng')
  assert.equal((await served.run('capture', '--out', unmade)).code, 2)
  assert.ok(!existsSync(unmade))
  service.capturing = giving(FILE).capturing
  assert.equal((await served.run('capture', '--out', path, '--force')).code, 0)
  assert.deepEqual(readFileSync(path), FILE)
  assert.equal(statSync(path).mode & 0o777, 0o600)
})

test('--json is figures, with a file or without', async () => {
  await using served = await Served.open(giving(FILE))
  const path = join(served.dataDir, 'a.pcapng')
  for (const args of [[], ['--out', path]]) {
    const { code, stdout, stderr } = await served.run('capture', '--json', ...args)
    assert.deepEqual([code, stderr], [0, ''])
    const { seconds, ...figures } = JSON.parse(stdout)
    assert.equal(typeof seconds, 'number')
    const expected = { packets: 2, bytes: 2800, lost: 3, ended: 'it was', ports: { 'client web': 2 } }
    assert.deepEqual(figures, { file: args[1] ?? null, ...expected })
  }
  assert.deepEqual(readFileSync(path), FILE)
})

test('--text is a line for each packet, without what would move a cursor', async () => {
  await using served = await Served.open(giving(FILE))
  const { code, stdout } = await served.run('capture', '--text')
  assert.equal(code, 0)
  assert.equal(
    stdout.match(
      /^[\d:]{8}\.123456 {2}client web {8}in {3}10\.77\.0\.2:53 > 10\.77\.0\.3:40000 {2}udp {2}1400 bytes/gm,
    )?.length,
    2,
  )
  assert.match(stdout, /1400 bytes {2}dropped: noRoute: no\[2Jroute\n$/)
})

test('Ctrl-C asks for the end, which is waited for', async () => {
  const service = new FakeService('web')
  const content = new PassThrough()
  service.capturing = () => ({ id: 7, content })
  service.endCapture = async id => {
    service.endedCaptures.push(id)
    content.end(Buffer.concat([packet(), END]))
    return { ended: true }
  }
  await using served = await Served.open(service)
  const path = join(served.dataDir, 'a.pcapng')
  content.write(Buffer.concat(BEGIN))
  const child = start(['capture', '--out', path], { dataDir: served.dataDir })
  await once(child.stderr!, 'data')
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  assert.deepEqual(service.endedCaptures, [7])
  assert.deepEqual(readFileSync(path), Buffer.concat([...BEGIN, packet(), END]))
})

test('a controller that dies leaves whole blocks, and is told of', async () => {
  const service = new FakeService('web')
  const content = new PassThrough()
  service.capturing = () => {
    content.write(Buffer.concat([...BEGIN, packet(), packet().subarray(0, 30)]))
    setTimeout(() => content.destroy(new Error('gone')), 100)
    return { id: 7, content }
  }
  await using served = await Served.open(service)
  const path = join(served.dataDir, 'a.pcapng')
  const { code, stderr } = await served.run('capture', '--out', path)
  assert.equal(code, 1)
  assert.match(
    stderr,
    /1 packets that came before this are in .*a\.pcapng\novermesh: the controller ended the connection/,
  )
  assert.deepEqual(readFileSync(path), Buffer.concat([...BEGIN, packet()]))
})

test('wrong usage is told before anything is done', async () => {
  await using served = await Served.open(giving(FILE))
  for (const args of [
    '--host 10.77',
    '--proto tpc',
    '--seconds 3601',
    '--snap 1 --payload',
    '--client web --controller beta',
    '--force',
    '--out a --text',
    '--json --text',
    '--json --out -',
  ]) {
    const { code, stdout, stderr } = await served.run('capture', ...args.split(' '))
    assert.equal(code, 2, args)
    assert.equal(stdout, '')
    assert.match(stderr, /^overmesh: [^\n]+\n$/, args)
  }
})

test('lines say what a person looks for', () => {
  const line = (bytes: Uint8Array) =>
    packetLine({ time: TIME, port: 'tun', direction: 2, packet: bytes, length: 99 })
      .split('  ')
      .slice(-3)
      .join('|')
  const four = { source: ip('10.77.0.2'), destination: ip('10.77.0.3') }
  const tcp = new Uint8Array(20)
  tcp.set([1, 187, 0, 80])
  tcp[12] = 0x50
  tcp[13] = 0x12
  assert.equal(
    line(makePacket({ ...four, protocol: 6, payload: tcp })),
    '10.77.0.2:443 > 10.77.0.3:80|tcp SYN ACK|99 bytes',
  )
  assert.equal(
    line(makePacket({ ...four, protocol: 1, payload: Uint8Array.of(8, 0, 0, 0) })),
    '10.77.0.2 > 10.77.0.3|icmp echo request|99 bytes',
  )
  assert.equal(
    line(makePacket({ ...four, protocol: 17, fragment: 9, payload: udp })),
    '10.77.0.2 > 10.77.0.3|udp fragment|99 bytes',
  )
  assert.equal(line(makePacket({ ...four, protocol: 200 })), '10.77.0.2 > 10.77.0.3|protocol 200|99 bytes')
  const six = { source: 'fd00::1', destination: 'fd00::2' }
  assert.equal(line(makePacket6({ ...six, payload: udp })), '[fd00::1]:53 > [fd00::2]:40000|udp|99 bytes')
  assert.equal(
    line(makePacket6({ ...six, nextHeader: 58, payload: Uint8Array.of(2, 0) })),
    'fd00::1 > fd00::2|icmp6 packet too big|99 bytes',
  )
  assert.equal(line(PACKET.subarray(0, 12)), '?|malformed|99 bytes')
  assert.equal(line(new Uint8Array()), '?|malformed|99 bytes')
})
