// Answers queries: of the overlay itself from its zone, others by the operator's resolvers, or not at all.
import {
  answerLimit,
  answersQuery,
  type Query,
  RCODE,
  readQuery,
  refuseUnread,
  relayAnswer,
  writeAnswer,
} from './message.ts'
import { answerFromZone, type NameView } from './zone.ts'

export interface ResponderInit {
  /** Undefined while the mesh has no DNS. */
  names: () => NameView | undefined
  /** Whether an address may ask. */
  admits: (source: number) => boolean
  /** Takes a token for a query of an address; false when it asks too often. */
  mayAsk: (source: number) => boolean
  /** Whether there is anyone to ask what is not the overlay's. */
  forwards: () => boolean
  /** Asks the operator's resolvers: the first answer that `accepts` takes; undefined when none came. */
  ask: (
    query: Uint8Array,
    tcp: boolean,
    accepts: (answer: Uint8Array) => boolean,
  ) => Promise<Uint8Array | undefined>
  /** Fills with random bytes. */
  random: (size: number) => Uint8Array
}

/** What was asked and what became of it, since the start. */
export interface DnsCounters {
  dnsQueries: number
  dnsForwarded: number
  /** Answered "server failure": no resolver answered, or too much was under way. */
  dnsFailed: number
  dnsRefused: number
  dnsMalformed: number
  /** Dropped: a source outside the overlay. */
  dnsForeign: number
  /** Dropped: asked too often. */
  dnsLimited: number
}

/** Queries under way to resolvers for one source. */
const MAX_PENDING_PER_SOURCE = 64

export class Responder {
  readonly counters: DnsCounters = {
    dnsQueries: 0,
    dnsForwarded: 0,
    dnsFailed: 0,
    dnsRefused: 0,
    dnsMalformed: 0,
    dnsForeign: 0,
    dnsLimited: 0,
  }
  readonly #init: ResponderInit
  /** How many of a source's queries are under way. */
  readonly #pending = new Map<number, number>()

  constructor(init: ResponderInit) {
    this.#init = init
  }

  /**
   * @param bytes as they came; not kept
   * @param source IPv4 address of who asks, u32
   * @param tcp whether they came by TCP, where answers may be long
   * @returns the message to send back; undefined for none
   */
  async answer(bytes: Uint8Array, source: number, tcp: boolean): Promise<Uint8Array | undefined> {
    const { admits, mayAsk } = this.#init
    if (!admits(source)) {
      this.counters.dnsForeign++
      return undefined
    }
    if (!mayAsk(source)) {
      this.counters.dnsLimited++
      return undefined
    }
    this.counters.dnsQueries++
    const query = readQuery(bytes)
    if (query === undefined || typeof query === 'number') {
      this.counters.dnsMalformed++
      return query === undefined ? undefined : refuseUnread(bytes, query)
    }
    return this.#answerQuery(query, bytes, source, tcp)
  }

  async #answerQuery(query: Query, bytes: Uint8Array, source: number, tcp: boolean): Promise<Uint8Array> {
    const limit = answerLimit(query, tcp)
    const recursionAvailable = this.#init.forwards()
    const fail = (rcode: number) => writeAnswer(query, { rcode, recursionAvailable }, limit)
    if (query.edns !== undefined && query.edns.version !== 0) return fail(RCODE.badVersion)
    const { name, type, class: qclass } = query.question
    const names = this.#init.names()
    const refusal = names === undefined || qclass !== 'IN' || type === 'AXFR' || type === 'IXFR'
    const own = refusal ? undefined : answerFromZone(name, type, names)
    if (own !== undefined) {
      const rcode = own.missing ? RCODE.nameError : RCODE.noError
      return writeAnswer(query, { ...own, rcode, authoritative: true, recursionAvailable }, limit)
    }
    if (refusal || !recursionAvailable) {
      this.counters.dnsRefused++
      return fail(RCODE.refused)
    }
    const relayed = await this.#forward(query, bytes, source, tcp)
    if (relayed !== undefined) return relayAnswer(relayed, query, limit)
    this.counters.dnsFailed++
    return fail(RCODE.serverFailure)
  }

  async #forward(
    query: Query,
    bytes: Uint8Array,
    source: number,
    tcp: boolean,
  ): Promise<Uint8Array | undefined> {
    const pending = this.#pending.get(source) ?? 0
    if (pending >= MAX_PENDING_PER_SOURCE) return undefined
    this.#pending.set(source, pending + 1)
    this.counters.dnsForwarded++
    try {
      const sent = Buffer.from(bytes)
      sent.set(this.#init.random(2), 0)
      const id = sent.readUInt16BE(0)
      return await this.#init.ask(sent, tcp, answer => answersQuery(answer, id, sent, query.questionEnd))
    } finally {
      const rest = this.#pending.get(source)! - 1
      if (rest === 0) this.#pending.delete(source)
      else this.#pending.set(source, rest)
    }
  }
}
