// Data packets for a switch at a chosen rate, and a sink that counts what comes out again: both as processes of their
// own, so that the switch's CPU time is its own alone. They send and receive one datagram at a time as far as the
// network can tell, as stock clients do.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { writeHeaderChecksum } from '../../node/switch/ipv4.ts'
import { Keys } from '../../node/switch/keys.ts'
import { listen } from '../../node/switch/listener.ts'
import { controlAt, nameLength, writeName } from '../../node/switch/socket-address.ts'
import { Arena } from '../../node/switch/sys/arena.ts'
import { type CipherName, keyLength } from '../../node/switch/sys/cipher.ts'
import { Poller } from '../../node/switch/sys/poller.ts'
import { ReceiveBatch } from '../../node/switch/sys/receive-batch.ts'
import { SendBatch } from '../../node/switch/sys/send-batch.ts'

/** A flow of UDP packets inside the tunnel. */
export interface LoadOptions {
  /** Where the switch listens. */
  host: string
  port: number
  /** The sending session. */
  peerId: number
  cipher: CipherName
  /** Client-to-server parts of the key block, in hex; any replay window must have seen nothing. */
  key: string
  implicitIv: string
  /** Overlay addresses, u32. */
  from: number
  to: number
  /** Bytes of an overlay packet, at least 28. */
  bytes: number
  packets: number
  packetsPerSecond: number
  /** Packets sent by one system call. @default 8 */
  burst?: number
}

export interface LoadResult {
  sent: number
  seconds: number
}

const RECEIVE_BATCH = 64
const QUIET_MILLISECONDS = 500

/** Sends the flow; resolves when all is sent. */
export async function startLoad(options: LoadOptions): Promise<LoadResult> {
  const child = fork(import.meta.filename, ['load', JSON.stringify(options)])
  const [result] = await once(child, 'message')
  return result as LoadResult
}

/** A socket that counts. `finish` resolves once nothing has come for half a second. */
export interface Sink {
  port: number
  finish(): Promise<{ received: number; bytes: number }>
}

export async function startSink(host: string): Promise<Sink> {
  const child: ChildProcess = fork(import.meta.filename, ['sink', host])
  const [port] = await once(child, 'message')
  return {
    port: port as number,
    async finish() {
      child.send('finish')
      const [result] = await once(child, 'message')
      return result as { received: number; bytes: number }
    },
  }
}

function load(options: LoadOptions): LoadResult {
  const { bytes, packets, packetsPerSecond, burst = 8 } = options
  const keys = new Keys(1)
  const key = Buffer.from(options.key, 'hex').subarray(0, keyLength(options.cipher))
  const parts = { cipher: key, hmac: Buffer.from(options.implicitIv, 'hex') }
  const slot = keys.add(options.peerId, 0, options.cipher, 'aead', parts, parts)
  const plain = new Arena(bytes)
  plain.view.setUint8(0, 0x45)
  plain.view.setUint16(2, bytes)
  plain.view.setUint8(8, 64)
  plain.view.setUint8(9, 17)
  plain.view.setUint32(12, options.from)
  plain.view.setUint32(16, options.to)
  writeHeaderChecksum(plain, 0)
  plain.view.setUint16(24, bytes - 20)
  const name = new Arena(72)
  writeName(name, 0, options.host, options.port, 0)
  const stride = bytes + 64
  const out = new Arena(burst * stride)
  const batch = new SendBatch(burst, burst)
  const socket = listen({ host: options.host.includes(':') ? '::' : '0.0.0.0', port: 0 }, false)
  const start = performance.now()
  let sent = 0
  while (sent < packets) {
    batch.clear()
    for (let i = 0; i < burst; i++) {
      const length = keys.seal(slot, plain, 0, bytes, out, i * stride)
      batch.begin(name, 0, nameLength(name, 0), name, controlAt(0), 0, 0)
      batch.add(out, i * stride, length)
    }
    const done = batch.send(socket.fd, 0)
    if (done > 0) sent += done
    while (performance.now() - start < (sent / packetsPerSecond) * 1000);
  }
  return { sent, seconds: (performance.now() - start) / 1000 }
}

function sink(host: string): void {
  const socket = listen({ host, port: 0 }, false)
  const batch = new ReceiveBatch(RECEIVE_BATCH)
  const poller = new Poller(1)
  poller.add(socket.fd, 0)
  process.send!(socket.port)
  let received = 0
  let bytes = 0
  let finishing = false
  let last = performance.now()
  process.once('message', () => {
    finishing = true
  })
  const turn = (): void => {
    const until = performance.now() + 100
    while (performance.now() < until) {
      if (poller.wait(20) === 0) continue
      const count = batch.receive(socket.fd)
      for (let i = 0; i < count; i++) bytes += batch.length(i)
      batch.release(count)
      received += count
      last = performance.now()
    }
    if (finishing && performance.now() - last > QUIET_MILLISECONDS) {
      process.send!({ received, bytes })
      process.disconnect()
    } else setImmediate(turn)
  }
  turn()
}

const [mode, argument] = process.argv.slice(2)
if (import.meta.main && mode === 'load') {
  process.send!(load(JSON.parse(argument)))
  process.disconnect()
} else if (import.meta.main && mode === 'sink') sink(argument)
