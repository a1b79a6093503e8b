// The daemon's side of VICI on a unix socket: answers as a test says, and remembers what it was asked.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  decodeMessage,
  encodeMessage,
  type ViciMessage,
  type ViciSection,
} from '../../../node/ipsec/vici/message.ts'
import { PacketReader } from '../../../node/ipsec/vici/packet.ts'

export type Answer = ViciMessage | 'unknown' | 'silence'

export class FakeDaemon {
  readonly path: string
  readonly asked: { command: string; message: ViciSection }[] = []
  readonly registered: string[] = []
  /** Events that nobody is registered for are not sent, as the real one does it. */
  strict = false
  answer: (command: string, message: ViciSection) => Answer = () => ({ success: 'yes' })
  /** Events that go out before a command's answer. */
  streams: (command: string) => [name: string, message: ViciMessage][] = () => []
  readonly #directory: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(directory: string) {
    this.#directory = directory
    this.path = join(directory, 'vici')
    this.#server = createServer(socket => this.#serve(socket))
  }

  static async start(): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(mkdtempSync(join(tmpdir(), 'overmesh-vici-')))
    await new Promise<void>(resolve => daemon.#server.listen(daemon.path, resolve))
    return daemon
  }

  event(name: string, message: ViciMessage): void {
    this.raw(packet(7, name, message))
  }

  raw(bytes: Uint8Array): void {
    for (const socket of this.#sockets) socket.write(bytes)
  }

  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    this.disconnect()
    await new Promise(resolve => this.#server.close(resolve))
    rmSync(this.#directory, { recursive: true })
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    const reader = new PacketReader()
    socket.on('data', chunk => {
      for (const bytes of reader.push(chunk)) this.#take(socket, bytes)
    })
  }

  #take(socket: Socket, bytes: Uint8Array): void {
    const end = 2 + bytes[1]
    const name = Buffer.from(bytes.subarray(2, end)).toString()
    if (bytes[0] === 3) {
      this.registered.push(name)
      socket.write(packet(name === 'no-such-event' ? 6 : 5))
      return
    }
    if (bytes[0] === 4) {
      while (this.registered.includes(name)) this.registered.splice(this.registered.indexOf(name), 1)
      socket.write(packet(5))
      return
    }
    const message = decodeMessage(bytes.subarray(end))
    this.asked.push({ command: name, message })
    for (const [event, item] of this.streams(name))
      if (!this.strict || this.registered.includes(event)) socket.write(packet(7, event, item))
    const answer = this.answer(name, message)
    if (answer === 'unknown') socket.write(packet(2))
    else if (answer !== 'silence') socket.write(packet(1, undefined, answer))
  }
}

/** A packet of the daemon's, with its length in front. */
export function packet(type: number, name?: string, message: ViciMessage = {}): Buffer {
  const title = name === undefined ? [] : [Buffer.from([Buffer.byteLength(name)]), Buffer.from(name)]
  const body = Buffer.concat([Buffer.from([type]), ...title, encodeMessage(message)])
  const header = Buffer.alloc(4)
  header.writeUInt32BE(body.length)
  return Buffer.concat([header, body])
}
