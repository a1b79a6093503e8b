// Stands between one client and a controller on the loopback, and loses what a test wants lost on the way to the client.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'

export class UdpRelay {
  /** Packets to the client that get lost. */
  loses: (packet: Uint8Array) => boolean = () => false
  readonly #socket: Socket
  #client: RemoteInfo | undefined

  private constructor(socket: Socket, host: string, port: number) {
    this.#socket = socket
    socket.on('message', (packet, from) => {
      if (from.port !== port) {
        this.#client = from
        socket.send(packet, port, host)
      } else if (this.#client && !this.loses(packet)) {
        socket.send(packet, this.#client.port, this.#client.address)
      }
    })
  }

  /** @param target IPv4 address and port */
  static async to(target: string): Promise<UdpRelay> {
    const [host, port] = target.split(':')
    const socket = createSocket('udp4')
    const relay = new UdpRelay(socket, host, Number(port))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return relay
  }

  get remote(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.#socket.address().port }
  }

  close(): void {
    this.#socket.close()
  }
}
