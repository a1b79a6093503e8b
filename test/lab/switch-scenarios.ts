// What switch.test.ts runs inside a network namespace of its own, where lo is all there is: `node switch-scenarios.ts NAME`.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { SwitchError } from '../../node/switch/errors.ts'
import { writeName } from '../../node/switch/socket-address.ts'
import { Arena } from '../../node/switch/sys/arena.ts'
import { AF_INET } from '../../node/switch/sys/family.ts'
import { SendBatch } from '../../node/switch/sys/send-batch.ts'
import { closeFile, openUdp } from '../../node/switch/sys/socket.ts'
import { allocateRing, DIRECTION, RingReader } from '../../node/switch/tap-ring.ts'
import { echoRequest, eventually, internetChecksum, ipv4Packet } from '../unit/switch/peer.ts'
import { A, B, GATEWAY, OWN, ROUTES, SUBNET, startTestSwitch } from '../unit/switch/running.ts'

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' })
const TUN_ROUTES = ROUTES.map(route =>
  route.peerId === 'local' ? { ...route, peerId: 'tun' as const } : route,
)

/** 0 when the checksum of a whole UDP packet is right. */
function udpChecksum(packet: Buffer): number {
  const pseudo = Buffer.concat([packet.subarray(12, 20), Buffer.of(0, 17), packet.subarray(24, 26)])
  return internetChecksum(Buffer.concat([pseudo, packet.subarray(20)]))
}

/** Sends datagrams of `size` bytes by this machine's kernel to session A, by one system call. */
function sendSegmented(payload: Uint8Array, size: number): void {
  const memory = new Arena(2048)
  const length = writeName(memory, 0, '10.77.0.2', 4001, 0)
  memory.bytes.set(payload, 64)
  const batch = new SendBatch(1, 1)
  batch.begin(memory, 0, length, memory, 32, 0, size)
  batch.add(memory, 64, payload.length)
  const fd = openUdp(AF_INET)
  assert.equal(batch.send(fd, 0), 1)
  closeFile(fd)
}

/** Kernels before Linux 6.2 want an interface down for that. */
function rename(from: string, to: string): void {
  try {
    execFileSync('ip', ['link', 'set', from, 'name', to], { stdio: 'ignore' })
  } catch {
    ip('link', 'set', from, 'down')
    ip('link', 'set', from, 'name', to)
    ip('link', 'set', to, 'up')
  }
}

/** A process in a network namespace of its own. */
async function otherNamespace() {
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo there && exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return {
    pid: child.pid,
    ip: (...args: string[]): string =>
      execFileSync('nsenter', ['--net', '--target', String(child.pid), 'ip', ...args], { encoding: 'utf8' }),
    async [Symbol.asyncDispose](): Promise<void> {
      child.kill()
      await once(child, 'close')
    },
  }
}

/** The interface is there, addressed, and both sides of it reach each other. */
async function carries(segmenting: boolean): Promise<void> {
  await using net = await startTestSwitch({ tun: { name: 'omtest0' }, mtu: 1400, segmenting }, { mtu: 1300 })
  net.running.setRoutes(TUN_ROUTES)
  const index = Number(ip('-o', 'link', 'show', 'dev', 'omtest0').split(':')[0])
  assert.deepEqual(net.running.tun, { name: 'omtest0', index, mtu: 1400, problem6: undefined })
  const shown = ip('addr', 'show', 'dev', 'omtest0')
  assert.match(shown, /mtu 1400/)
  assert.match(shown, /inet 10\.77\.0\.16\/16/)
  assert.match(shown, /inet 10\.77\.0\.1\/32/)
  assert.match(ip('route'), /10\.77\.0\.0\/16 dev omtest0/)
  const ring = allocateRing(2 ** 16)
  const captured = new RingReader(ring)
  net.running.openTap({ port: 'tun', networks: [], protocol: 17, dropped: false, snap: 0 }, ring)
  const passed: [direction: number, length: number, captured: number][] = []
  const look = (): number => {
    for (let next = captured.next(); next !== undefined; next = captured.next())
      passed.push([next.direction, next.length, next.bytes.length])
    captured.release()
    return passed.length
  }
  for (const address of [GATEWAY, OWN]) {
    await net.a.send(echoRequest(A, address))
    const answer = await net.a.receive()
    assert.equal(answer.readUInt32BE(12), address)
    assert.equal(answer[20], 0)
  }
  const { createSocket } = await import('node:dgram')
  const kernel = createSocket('udp4')
  kernel.bind(4000, '10.77.0.16')
  await once(kernel, 'listening')
  const payload = randomBytes(1200)
  kernel.send(payload, 4001, '10.77.0.2')
  const sent = await net.a.receive()
  assert.equal(sent[8], 64, 'the kernel has counted its own hop')
  assert.deepEqual(sent.subarray(28), payload)
  assert.equal(udpChecksum(sent), 0, 'the checksum is complete')
  // What a program leaves to the kernel to cut (UDP_SEGMENT), the kernel leaves to the switch since Linux 6.2.
  sendSegmented(payload.subarray(0, 1000), 400)
  for (const [from, to] of [
    [0, 400],
    [400, 800],
    [800, 1000],
  ]) {
    const part = await net.a.receive()
    assert.deepEqual(part.subarray(28), payload.subarray(from, to))
    assert.equal(udpChecksum(part), 0)
    assert.equal(internetChecksum(part.subarray(0, 20)), 0)
  }
  await eventually(() => look() >= 4, 'the packets in a capture')
  const passedIn = [1228, 428, 428, 228].map(length => [DIRECTION.in, length, 28])
  assert.deepEqual(passed, passedIn, 'true packets, as they were cut')
  const { tunReads, tunRxPackets } = net.running.counters()
  assert.ok(segmenting ? tunReads <= tunRxPackets : tunReads === tunRxPackets, `${tunReads} ${tunRxPackets}`)
  const udp = Buffer.concat([Buffer.from([0x0f, 0xa1, 0x0f, 0xa0, 0, 13, 0, 0]), Buffer.from('hello')])
  const came = once(kernel, 'message')
  await net.a.send(ipv4Packet(A, OWN, udp))
  assert.equal((await came)[0].toString(), 'hello')
  await eventually(() => look() >= 5, 'the packet to the kernel in a capture')
  assert.deepEqual(passed[4], [DIRECTION.out, 33, 28])
  // A client that is away: the kernel is told.
  kernel.send('x', 4001, '10.77.0.200')
  await eventually(() => net.running.counters().unreachable >= 1, 'the refusal')
  kernel.close()
  // The other way is narrower: path MTU discovery works for the kernel, too.
  const tooLong = createSocket('udp4')
  tooLong.bind(4002, '10.77.0.16')
  await once(tooLong, 'listening')
  tooLong.send(randomBytes(1340), 4001, '10.77.0.3')
  await eventually(() => net.running.counters().tooBig === 1, 'the refusal')
  await eventually(() => / mtu 1300/.test(ip('route', 'get', '10.77.0.3')), 'the kernel learns the MTU')
  tooLong.close()
  assert.deepEqual(net.errors, [])
}

const scenarios: Record<string, () => Promise<void>> = {
  tun: () => carries(true),

  /** As on a kernel without offloads. */
  plain: () => carries(false),

  /** Stopping takes the interface away, and the name can be used again at once. */
  async gone() {
    for (let round = 0; round < 2; round++) {
      const net = await startTestSwitch({ tun: { name: 'omtest1' } })
      assert.match(ip('link'), /omtest1/)
      await assert.rejects(startTestSwitch({ tun: { name: 'omtest1' } }), (error: unknown) => {
        assert.ok(error instanceof SwitchError)
        assert.equal(error.code, 'TUN_UNAVAILABLE')
        assert.match(error.message, /in use/)
        return true
      })
      await net[Symbol.asyncDispose]()
      assert.doesNotMatch(ip('link'), /omtest1/)
    }
    await assert.rejects(startTestSwitch({ tun: { name: 'a-name-too-long-for-this' } }), {
      code: 'TUN_UNAVAILABLE',
    })
  },

  /** Somebody deletes the interface, and again: it comes back as it was, and the sessions stay. */
  async deleted() {
    await using net = await startTestSwitch({ tun: { name: 'omtest2' }, mtu: 1400 })
    net.running.setRoutes(TUN_ROUTES)
    const told: (string | undefined)[] = []
    net.running.onTun = gone => told.push(gone)
    const shown = (): string =>
      ip('-oneline', 'addr', 'show', 'dev', 'omtest2', 'scope', 'global').replace(/^\d+/gm, '')
    const before = shown()
    for (let round = 1; round <= 2; round++) {
      await net.a.send(echoRequest(A, OWN))
      assert.equal((await net.a.receive())[20], 0)
      ip('link', 'del', 'omtest2')
      await eventually(() => told.length === 2 * round, 'it is back')
      assert.deepEqual(told.slice(-2), ['it was deleted', undefined])
      assert.equal(shown(), before)
    }
    await net.a.send(echoRequest(A, GATEWAY))
    assert.equal((await net.a.receive())[20], 0)
    // Another program has its name.
    ip('link', 'del', 'omtest2')
    ip('link', 'add', 'omtest2', 'type', 'veth', 'peer', 'omtest3')
    await eventually(() => told.length === 6, 'it cannot be made')
    assert.match(told[5] ?? '', /omtest2/)
    const { turns } = net.running
    const begun = performance.now()
    await net.a.send(echoRequest(A, B))
    assert.equal((await net.b.receive())[20], 8, 'clients reach each other meanwhile')
    await net.a.send(echoRequest(A, OWN))
    await eventually(() => net.running.counters().tunFailed === 1, 'nobody takes it')
    ip('link', 'del', 'omtest2')
    await eventually(() => told.length === 7, 'it is back')
    assert.equal(told[6], undefined)
    const made = net.running.turns - turns
    assert.ok(made < 50 + (performance.now() - begun) / 10, `${made} turns of the loop meanwhile`)
    await net.a.send(echoRequest(A, OWN))
    assert.equal((await net.a.receive())[20], 0)
    assert.deepEqual(net.errors, [])
  },

  /** Somebody renames the interface or moves it away: it is back under its name; but not where that is done again and again. */
  async renamed() {
    await using net = await startTestSwitch({ tun: { name: 'omtest4' }, mtu: 1400 })
    net.running.setRoutes(TUN_ROUTES)
    const told: (string | undefined)[] = []
    net.running.onTun = gone => told.push(gone)
    const shown = (): string =>
      ip('-oneline', 'addr', 'show', 'dev', 'omtest4', 'scope', 'global').replace(/^\d+/gm, '')
    const before = shown()
    const isRight = async (): Promise<void> => {
      assert.equal(shown(), before)
      assert.equal(net.running.tun?.index, Number(ip('-o', 'link', 'show', 'dev', 'omtest4').split(':')[0]))
      await net.a.send(echoRequest(A, OWN))
      assert.equal((await net.a.receive())[20], 0)
    }
    await isRight()
    rename('omtest4', 'omtest5')
    await eventually(() => told.length === 2, 'it is back')
    assert.deepEqual(told, ['it was renamed omtest5', undefined])
    assert.doesNotMatch(ip('link'), /omtest5/)
    await isRight()
    await using away = await otherNamespace()
    ip('link', 'set', 'omtest4', 'netns', String(away.pid))
    await eventually(() => told.length === 4, 'it is made anew')
    assert.deepEqual(told.slice(-2), ['it was moved to another network namespace', undefined])
    assert.doesNotMatch(away.ip('link'), /omtest/)
    await isRight()
    // What was with an interface that is down is gone.
    const { index = 0 } = net.running.tun ?? {}
    ip('link', 'set', 'omtest4', 'down')
    ip('link', 'set', 'omtest4', 'name', 'omtest5')
    await eventually(() => told.length === 6, 'it is made anew')
    assert.notEqual(net.running.tun?.index, index)
    await isRight()
    rename('omtest4', 'omtest5')
    await eventually(() => told.length === 7, 'it is given up')
    assert.match(told[6] ?? '', /^it was renamed omtest5, again and again; find out/)
    assert.doesNotMatch(ip('link'), /omtest/)
    await eventually(() => told.length === 8, 'it is tried again')
    assert.equal(told[7], undefined)
    await isRight()
    assert.deepEqual(net.errors, [])
  },

  /** Segments longer than the interface's MTU: the kernel refuses to segment, and everything arrives nonetheless. */
  async narrow() {
    ip('link', 'set', 'lo', 'mtu', '1280')
    await using net = await startTestSwitch()
    const payloads = Array.from({ length: 50 }, () => randomBytes(1400))
    for (let round = 0; round < 3; round++) {
      await Promise.all(payloads.map(payload => net.a.send(ipv4Packet(A, B, payload))))
      for (const payload of payloads) assert.deepEqual((await net.b.receive()).subarray(20), payload)
    }
    assert.deepEqual(net.drops(), {})
  },

  /** Without the right to make interfaces there is a sentence that helps. */
  async unprivileged() {
    process.setgroups?.([])
    process.setgid?.(65534)
    process.setuid?.(65534)
    await assert.rejects(startTestSwitch({ tun: {} }), (error: unknown) => {
      assert.ok(error instanceof SwitchError)
      assert.equal(error.code, 'TUN_UNAVAILABLE')
      assert.match(error.message, /run as root or with CAP_NET_ADMIN, or start without a TUN/)
      return true
    })
    await assert.rejects(startTestSwitch({ listen: [{ host: '127.0.0.1', port: 80 }] }), {
      code: 'PORT_FORBIDDEN',
    })
    // As a switch alone it works.
    await using net = await startTestSwitch({ subnet: SUBNET })
    await net.a.send(ipv4Packet(A, B))
    await net.b.receive()
  },
}

await scenarios[process.argv[2]]()
