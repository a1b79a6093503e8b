// Asks the operator's resolvers: one after the other until one answers, each time from a port of its own that the kernel
// chooses at random (RFC 5452).
import { createSocket } from 'node:dgram'
import { connect } from 'node:net'
import type { HostPort } from '../net/ip.ts'
import { MAX_TCP_ANSWER } from './message.ts'
import { frameMessage, MessageReader } from './stream-framing.ts'

export interface UpstreamInit {
  servers: () => readonly HostPort[]
  /** ms that one server is given. @default 2000 */
  timeout?: number
  /** ms that all together are given: those who ask wait five seconds (resolv.conf(5), `timeout`). @default 4500 */
  total?: number
  /** Queries under way at once. @default 1000 */
  maxPending?: number
}

type Accepts = (answer: Uint8Array) => boolean
type Settle = (answer: Uint8Array | undefined) => void

export class Upstream {
  readonly #init: Required<UpstreamInit>
  #pending = 0
  /** The server that answered last, which is asked first: one that is dead costs its timeout once. */
  #preferred = ''
  /** Ends what is under way. */
  readonly #cancels = new Set<() => void>()
  #closed = false

  constructor({ servers, timeout = 2000, total = 4500, maxPending = 1000 }: UpstreamInit) {
    this.#init = { servers, timeout, total, maxPending }
  }

  /** @returns the first answer that `accepts` takes; undefined when no server gave one, or too much is under way */
  async ask(query: Uint8Array, tcp: boolean, accepts: Accepts): Promise<Uint8Array | undefined> {
    if (this.#pending >= this.#init.maxPending) return undefined
    this.#pending++
    try {
      const servers = this.#inOrder()
      const patience = Math.min(this.#init.timeout, this.#init.total / servers.length)
      for (const server of servers) {
        if (this.#closed) return undefined
        const exchange = tcp ? askByTcp : askByUdp
        const answer = await this.#within(patience, settle => exchange(server, query, accepts, settle))
        if (answer === undefined) continue
        this.#preferred = nameOf(server)
        return answer
      }
      return undefined
    } finally {
      this.#pending--
    }
  }

  /** Ends what is under way: nobody is answered any more. */
  close(): void {
    this.#closed = true
    for (const cancel of this.#cancels) cancel()
  }

  #inOrder(): HostPort[] {
    const servers = this.#init.servers()
    const isPreferred = (server: HostPort) => nameOf(server) === this.#preferred
    return [...servers.filter(isPreferred), ...servers.filter(server => !isPreferred(server))]
  }

  /** @param start begins an exchange that settles later, and returns what ends it */
  #within(ms: number, start: (settle: Settle) => () => void): Promise<Uint8Array | undefined> {
    return new Promise(resolve => {
      const settle: Settle = answer => {
        if (!this.#cancels.delete(cancel)) return
        clearTimeout(timer)
        end()
        resolve(answer)
      }
      const cancel = () => settle(undefined)
      const timer = setTimeout(cancel, ms)
      this.#cancels.add(cancel)
      const end = start(settle)
    })
  }
}

function nameOf({ host, port }: HostPort): string {
  return `${host} ${port}`
}

function askByUdp(server: HostPort, query: Uint8Array, accepts: Accepts, settle: Settle): () => void {
  const socket = createSocket(server.family === 'ipv6' ? 'udp6' : 'udp4')
  // Such as "connection refused", which an ICMP error of the server's host becomes.
  socket.on('error', () => settle(undefined))
  socket.on('message', message => {
    if (accepts(message)) settle(message)
  })
  let open = true
  // Connected: the kernel drops what comes from elsewhere. What the types lack: it is told an error here.
  socket.connect(server.port, server.host, (error?: Error) => {
    if (error) settle(undefined)
    else if (open) socket.send(query)
  })
  return () => {
    open = false
    socket.close()
  }
}

function askByTcp(server: HostPort, query: Uint8Array, accepts: Accepts, settle: Settle): () => void {
  const socket = connect(server.port, server.host, () => socket.write(frameMessage(query)))
  const reader = new MessageReader(MAX_TCP_ANSWER)
  socket.on('data', chunk => {
    const [message] = reader.take(chunk) ?? []
    if (message !== undefined) settle(accepts(message) ? message : undefined)
  })
  socket.on('error', () => settle(undefined))
  socket.once('close', () => settle(undefined))
  return () => socket.destroy()
}
