// Reads charon's log, line by line: which IKE SA a line belongs to, what was said of it before, and what that means.
import { type Exchange, type Words, wordsOf } from './words.ts'

/** "05[IKE] <name|7> text": thread, group, connection and unique id of the IKE SA. */
const LINE = /^(\d+)\[([A-Z0-9]{3})\] (?:<(?:([^|>]*)\|)?(\d+)> )?(.*)$/
/** IKE SAs and threads that are remembered. */
const MAX_REMEMBERED = 256

/** Of the group ESP there may be a line for each packet: it is not taken apart, and goes into no log. */
const ESP_LINE = /^\d+\[ESP\] /
/** A packet whose addresses are not those of the association that it came by (libipsec's ipsec_processor.c). */
const REFUSED = 'discarding inbound IP packet'

export interface Problem extends Words {
  /** Undefined while the daemon does not know which connection it is. */
  readonly connection: string | undefined
  /** Address of the remote end, where that is known. */
  readonly remote: string | undefined
  /** As it calls itself. */
  readonly remoteId: string | undefined
}

export interface LogLine {
  readonly group: string
  readonly connection: string | undefined
  readonly text: string
}

export class LogReader {
  onProblem: (problem: Problem) => void = () => {}
  /** Name of the interface that user ESP comes out of. */
  onDevice: (name: string) => void = () => {}
  /** Packets that came by an association that they do not belong to. */
  refusedPackets = 0
  readonly #exchanges = new Map<string, Exchange & { remote?: string }>()
  /** Remote address of the packet that a thread works on. */
  readonly #threads = new Map<string, string>()

  /** @returns whether it is a line of a packet, which has been counted */
  countPacket(line: string): boolean {
    if (!ESP_LINE.test(line)) return false
    if (line.includes(REFUSED)) this.refusedPackets++
    return true
  }

  /** Undefined for a line that is none of the log's. */
  read(line: string): LogLine | undefined {
    const match = LINE.exec(line)
    if (match === null) return undefined
    const [, thread, group, name, id, text] = match
    const connection = name === undefined || name === '' ? undefined : name
    this.#remember(thread, id, text)
    const exchange = this.#exchanges.get(id) ?? {}
    const words = wordsOf(text, exchange)
    if (words !== undefined) {
      const remote = exchange.remote ?? this.#threads.get(thread)
      this.onProblem({ ...words, connection, remote, remoteId: exchange.remoteId })
    }
    return { group, connection, text }
  }

  #remember(thread: string, id: string | undefined, text: string): void {
    const device = /^created TUN device: (\S+)$/.exec(text)
    if (device) this.onDevice(device[1])
    const packet =
      /^received packet: from (\S+)\[\d+\] to /.exec(text) ??
      /^received unsupported IKE version \S+ from (\S+), /.exec(text)
    if (packet) keep(this.#threads, thread, packet[1])
    if (id === undefined) return
    const note = (part: Exchange & { remote?: string }): void =>
      keep(this.#exchanges, id, { ...this.#exchanges.get(id), ...part })
    const peer = /^(\S+) is initiating an? /.exec(text) ?? /^initiating .* to (\S+)$/.exec(text)
    if (peer) note({ remote: peer[1] })
    const proposals = /^(received|configured) proposals: (.*)$/.exec(text)
    if (proposals) note({ [proposals[1]]: proposals[2] })
    if (text.startsWith('subject certificate invalid')) note({ isCertificateInvalid: true })
    const ids = /^looking for (?:\S+ )*peer configs matching \S+?\[(.*)\]\.\.\.\S+?\[(.*)\]$/.exec(text)
    if (ids) note({ localId: ids[1] === '%any' ? undefined : ids[1], remoteId: ids[2] })
  }
}

/** The oldest makes room. */
function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  if (map.size >= MAX_REMEMBERED) map.delete(map.keys().next().value!)
  map.set(key, value)
}
