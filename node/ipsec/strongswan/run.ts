// One life of the daemon: its process and the connection to it. Either ends with the other.

import { createHash } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { thisKernel } from '../../gateway/kernel.ts'
import { steadyNow } from '../../steady-clock.ts'
import { IpsecError } from '../engine.ts'
import { ViciClient } from '../vici/client.ts'
import { ViciError } from '../vici/error.ts'
import { sectionsOf, type ViciSection } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import { type Esp, ROUTING_TABLE, startProblem, strongswanConf } from './configuration.ts'
import { Daemon, endOrphan } from './daemon.ts'
import type { Door } from './door.ts'
import { removeLeft } from './left-esp.ts'

/** IKE, and IKE and ESP behind NAT (RFC 3947, RFC 7296). */
export const IKE_PORTS = [500, 4500] as const
const EVENTS = ['child-updown', 'child-rekey'] as const
const START_MS = 15_000
const LOOK_MS = 25
/** sun_path of unix(7), without the zero at its end. */
const MAX_SOCKET_PATH = 107

export interface RunInit {
  /** Private to us. */
  readonly directory: string
  readonly program: string
  readonly esp: Esp
  readonly ignoreInterfaces: readonly string[]
  /** Shut once the ports are known to be this daemon's. */
  readonly door: Door
  readonly onLine: (line: string) => void
  readonly onEvent: (name: string, message: ViciSection) => void
  /** It ended by itself. */
  readonly onEnd: (how: string) => void
}

export class Run {
  readonly client: ViciClient
  readonly #daemon: Daemon
  readonly #socket: string
  readonly #marker: string

  private constructor(client: ViciClient, daemon: Daemon, socket: string, marker: string) {
    this.client = client
    this.#daemon = daemon
    this.#socket = socket
    this.#marker = marker
  }

  /** @throws IpsecError saying why it did not come up, and what to do */
  static async start(init: RunInit): Promise<Run> {
    const { directory, program, esp, ignoreInterfaces } = init
    privateDirectory(directory)
    const pidFile = join(directory, 'charon.pid')
    await endOrphan(pidFile)
    // One that was killed leaves its rule behind.
    await thisKernel.run('ip', ['rule', 'delete', 'priority', String(ROUTING_TABLE.priority)])
    await portsAreFree()
    // There while a daemon runs whose ESP is the kernel's, and after one that did not end in order.
    const marker = join(directory, 'kernel-esp')
    if (existsSync(marker)) await removeLeft()
    if (esp === 'kernel') writeFileSync(marker, '', { mode: 0o600 })
    else rmSync(marker, { force: true })
    await init.door.shut()
    const socket = socketPath(directory)
    rmSync(socket, { force: true })
    const configuration = join(directory, 'strongswan.conf')
    writeFileSync(configuration, strongswanConf({ socket, esp, ignoreInterfaces }), { mode: 0o600 })
    let started = false
    let last = ''
    const daemon = new Daemon({
      program,
      configuration,
      pidFile,
      onLine: line => {
        if (!started) last = startProblem(line) ?? last
        init.onLine(line)
      },
      onEnd: how => {
        client?.close()
        if (started) init.onEnd(how)
      },
    })
    let client: ViciClient | undefined
    try {
      client = await connect(socket, daemon)
      client.onEvent = init.onEvent
      for (const event of EVENTS) await client.register(event)
    } catch (error) {
      daemon.kill()
      const reason = last || (error as Error).message
      throw new IpsecError(`the IKE daemon does not start: ${reason}; its log is told at log level debug`)
    }
    // A daemon that does not answer any more is of no use.
    client.onClose = () => daemon.kill()
    started = true
    return new Run(client, daemon, socket, marker)
  }

  /** @throws ViciError when the daemon is gone */
  async list(): Promise<NamedSa[]> {
    return (await this.client.stream('list-sas', 'list-sa')).flatMap(sectionsOf)
  }

  /** Has a connection dialled, with these child SAs; its log tells what comes of it. @throws ViciError when the daemon is gone */
  async initiate(connection: string, children: readonly string[]): Promise<void> {
    for (const child of children) {
      const request = { ike: connection, child, timeout: '-1', loglevel: '0' }
      // What is refused at once, its log tells too.
      await this.client.request('initiate', request).catch(error => {
        if (!(error instanceof ViciError) || error.code !== 'refused') throw error
      })
    }
  }

  /** Ends the IKE SAs of a connection, and waits for the remote end to have heard of it. */
  async terminate(connection: string): Promise<void> {
    const client = await ViciClient.connect(this.#socket)
    try {
      const force = { force: 'yes', timeout: String(TERMINATE_MS), loglevel: '0' }
      await client.request('terminate', { ike: connection, ...force }).catch(() => undefined)
    } finally {
      client.close()
    }
  }

  /**
   * Ends one IKE SA, or begins to.
   * @param isForced without waiting for the remote end to have heard of it
   * @throws ViciError when the daemon is gone
   */
  async endSa(uniqueId: string, isForced: boolean): Promise<void> {
    const request = {
      'ike-id': uniqueId,
      timeout: '-1',
      loglevel: '0',
      ...(isForced ? { force: 'yes' } : {}),
    }
    // It may have ended by itself.
    await this.client.request('terminate', request).catch(error => {
      if (!(error instanceof ViciError) || error.code !== 'refused') throw error
    })
  }

  async stop(): Promise<void> {
    this.client.onClose = () => {}
    this.client.close()
    const isInOrder = await this.#daemon.stop()
    if (!existsSync(this.#marker)) return
    if (!isInOrder) await removeLeft()
    rmSync(this.#marker, { force: true })
  }
}

/** How long a remote end may take to hear that an SA ends. */
const TERMINATE_MS = 2000

async function connect(socket: string, daemon: Daemon): Promise<ViciClient> {
  for (const end = steadyNow() + START_MS; steadyNow() < end; ) {
    if (!daemon.isRunning) throw new IpsecError('it ended at once')
    try {
      return await ViciClient.connect(socket)
    } catch {
      await sleep(LOOK_MS)
    }
  }
  throw new IpsecError(`no answer in ${START_MS / 1000} s`)
}

function privateDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  chmodSync(path, 0o700)
}

/** In the directory; in one under /run where its path would be too long for a socket. */
function socketPath(directory: string): string {
  const path = join(directory, 'charon.vici')
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path
  const short = join('/run', `overmesh-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`)
  privateDirectory(short)
  return join(short, 'charon.vici')
}

async function portsAreFree(): Promise<void> {
  for (const port of IKE_PORTS) {
    const reason = await new Promise<string | undefined>(resolve => {
      const probe = createSocket('udp4')
      probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      probe.bind({ port, exclusive: true }, () => probe.close(() => resolve(undefined)))
    })
    if (reason === 'EADDRINUSE')
      throw new IpsecError(
        `UDP port ${port} is in use, as by another strongSwan; find it by: ss -ulpn 'sport = :${port}', and stop it`,
      )
    if (reason !== undefined) throw new IpsecError(`UDP port ${port} cannot be used (${reason})`)
  }
}
