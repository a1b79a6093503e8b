// DNS messages (RFC 1035 section 4, EDNS by RFC 6891): what a stranger's bytes ask, and what is answered. The library does the
// wire format; this file decides what is let near it.
import {
  type Answer,
  AUTHORITATIVE_ANSWER,
  CHECKING_DISABLED,
  decode,
  encode,
  type OptAnswer,
  type Question,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet'

export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  /** An EDNS version that is not known: its upper bits travel in the OPT record. */
  badVersion: 16,
} as const

/** Longest query that is looked at, bytes. */
export const MAX_QUERY = 4096
/** Longest answer by UDP, bytes: what crosses any path in one piece (https://www.dnsflagday.net/2020/). */
export const MAX_UDP_ANSWER = 1232
/** Longest message by TCP, bytes: its length has 16 bits. */
export const MAX_TCP_ANSWER = 65_535
/** What one without EDNS takes by UDP, bytes. */
const PLAIN_UDP_ANSWER = 512
const HEADER = 12
const QR = 0x8000
const OPCODE = 0x7800
const RCODE_BITS = 0xf
/** An OPT record, and what else one may put beside it, such as a signature. */
const MAX_ADDITIONALS = 4

export interface Query {
  readonly id: number
  readonly question: Question
  /** Those that the answer repeats. */
  readonly flags: number
  /** Undefined without EDNS. */
  readonly edns: { version: number; size: number } | undefined
  /** Bytes of header and question. */
  readonly questionEnd: number
}

export interface AnswerParts {
  rcode: number
  answers?: Answer[]
  authorities?: Answer[]
  authoritative?: boolean
  recursionAvailable?: boolean
}

/** @returns the query; or the code to refuse it with; or undefined for what is not to be answered at all. Never throws. */
export function readQuery(bytes: Uint8Array): Query | number | undefined {
  if (bytes.length < HEADER) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = view.getUint16(2)
  // To answer an answer is how loops are made.
  if ((flags & QR) !== 0) return undefined
  if ((flags & OPCODE) !== 0) return RCODE.notImplemented
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map(at => view.getUint16(at))
  const plausible = questions === 1 && answers === 0 && authorities === 0 && additionals <= MAX_ADDITIONALS
  if (!plausible || bytes.length > MAX_QUERY) return RCODE.formatError
  return parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), flags) ?? RCODE.formatError
}

function parse(bytes: Buffer, flags: number): Query | undefined {
  try {
    const { questions: [question] = [], additionals = [] } = decode(bytes)
    if (decode.bytes > bytes.length) return undefined
    // What does not become the same bytes again has a label that is not text, or points elsewhere.
    const again = encode({ questions: [question] }).subarray(HEADER)
    const questionEnd = HEADER + again.length
    if (!again.equals(bytes.subarray(HEADER, questionEnd))) return undefined
    const options = additionals.filter((each): each is OptAnswer => each.type === 'OPT')
    if (options.length > 1) return undefined
    const [opt] = options
    return {
      id: bytes.readUInt16BE(0),
      question,
      flags: flags & (RECURSION_DESIRED | CHECKING_DISABLED),
      edns: opt && { version: opt.ednsVersion, size: opt.udpPayloadSize },
      questionEnd,
    }
  } catch {
    return undefined
  }
}

/** The answer to a query, with no more than its question and the mark of truncation where it would be longer than `limit`. */
export function writeAnswer(query: Query, parts: AnswerParts, limit: number): Buffer {
  const { rcode, answers = [], authorities = [], authoritative, recursionAvailable } = parts
  const flags =
    query.flags |
    (rcode & RCODE_BITS) |
    (authoritative ? AUTHORITATIVE_ANSWER : 0) |
    (recursionAvailable ? RECURSION_AVAILABLE : 0)
  const message = {
    type: 'response' as const,
    id: query.id,
    questions: [query.question],
    additionals: query.edns === undefined ? [] : [optRecord(rcode >> 4)],
  }
  const whole = encode({ ...message, flags, answers, authorities })
  return whole.length <= limit ? whole : encode({ ...message, flags: flags | TRUNCATED_RESPONSE })
}

function optRecord(extendedRcode: number): Answer {
  return {
    name: '.',
    type: 'OPT',
    udpPayloadSize: MAX_UDP_ANSWER,
    extendedRcode,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
}

/** The refusal of a message that could not be read: its header alone. */
export function refuseUnread(bytes: Uint8Array, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER)
  header.set(bytes.subarray(0, 4))
  header.writeUInt16BE(QR | (header.readUInt16BE(2) & (OPCODE | RECURSION_DESIRED)) | rcode, 2)
  return header
}

/** Bytes that an answer to this query may have. */
export function answerLimit(query: Query, tcp: boolean): number {
  if (tcp) return MAX_TCP_ANSWER
  return Math.min(MAX_UDP_ANSWER, Math.max(PLAIN_UDP_ANSWER, query.edns?.size ?? 0))
}

/** Whether another server's message answers this query, sent there with this id: bytes of anyone who could guess its port. */
export function answersQuery(
  message: Uint8Array,
  id: number,
  sent: Uint8Array,
  questionEnd: number,
): boolean {
  if (message.length < HEADER || message.length > MAX_TCP_ANSWER) return false
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const flags = view.getUint16(2)
  if (view.getUint16(0) !== id || (flags & (QR | OPCODE)) !== QR) return false
  // Some servers leave the question out of a refusal.
  if (view.getUint16(4) === 0) return message.length === HEADER && (flags & RCODE_BITS) !== RCODE.noError
  if (view.getUint16(4) !== 1 || message.length < questionEnd) return false
  for (let i = HEADER; i < questionEnd; i++) if (lower(message[i]) !== lower(sent[i])) return false
  return true
}

/** Another server's answer with the id that our own asker gave, cut to its question where it is longer than `limit`. */
export function relayAnswer(message: Uint8Array, query: Query, limit: number): Buffer {
  const whole = message.length <= limit
  const relayed = Buffer.from(whole ? message : message.subarray(0, query.questionEnd))
  relayed.writeUInt16BE(query.id, 0)
  if (!whole) {
    relayed.writeUInt16BE(relayed.readUInt16BE(2) | TRUNCATED_RESPONSE, 2)
    relayed.fill(0, 6, HEADER)
  }
  return relayed
}

/** ASCII only, as DNS compares (RFC 4343). */
function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
}
