// Control messages: printable text, closed by NUL, one to a TLS record. Source: OpenVPN src/openvpn/push.c, forward.c,
// ssl_pkt.h; OpenVPN 3 client/cliproto.hpp.

/** Longest text taken from a peer, NUL included. */
export const MAX_CONTROL_MESSAGE = 2048
/** Options fill a PUSH_REPLY to so many characters, as in stock servers: 2.x refuses over 1,024. */
export const PUSH_BUNDLE = 940
/** Longest single option of 2.x. */
export const MAX_PUSH_OPTION = 255
/** Parts of a split PUSH_REPLY a client takes. */
const MAX_PUSH_PARTS = 64

/** Where a client that was told to restart goes. */
export type RestartTarget = 'same' | 'next'

/** A refusal that will not last: what the client does until it tries again. Known to clients with IV_PROTO bit 8. */
export interface TemporaryFailure {
  backoffSeconds?: number
  /** Which address is tried next: the same (`no`), the next of the same name, or the next remote. */
  advance?: 'no' | 'addr' | 'remote'
}

export type ControlMessage =
  | { type: 'push-request' }
  | { type: 'push-reply'; options: string[]; more: boolean }
  | { type: 'push-update'; options: string[] }
  | { type: 'restart'; target: RestartTarget; reason: string }
  | { type: 'halt'; reason: string }
  | { type: 'exit' }
  | { type: 'auth-failed'; reason: string; temporary?: TemporaryFailure }
  | { type: 'other'; text: string }

/** Ready to be sent in one TLS record. */
export function encodeControlMessage(text: string): Uint8Array {
  return Buffer.from(`${text}\0`, 'latin1')
}

/** One or more messages, each within what a stock client takes. @throws RangeError for an option that cannot be sent */
export function pushReply(options: readonly string[]): string[] {
  const bundles: string[][] = [[]]
  let length = 0
  for (const option of options) {
    if (option.length > MAX_PUSH_OPTION || /[^\x20-\x7e]|,/.test(option)) {
      throw new RangeError(`cannot push "${option.slice(0, 40)}"`)
    }
    if (length + option.length + 1 > PUSH_BUNDLE) {
      bundles.push([])
      length = 0
    }
    bundles.at(-1)!.push(option)
    length += option.length + 1
  }
  return bundles.map((bundle, i) => {
    const continuation = bundles.length === 1 ? [] : [`push-continuation ${i === bundles.length - 1 ? 1 : 2}`]
    return ['PUSH_REPLY', ...bundle, ...continuation].join(',')
  })
}

/** 2.x advances to its next remote with `N`. */
export function restartMessage(target: RestartTarget, reason = ''): string {
  const flags = target === 'next' ? '[N]' : ''
  return `RESTART${flags || reason ? ',' : ''}${flags}${clean(reason)}`
}

export function haltMessage(reason = ''): string {
  return reason ? `HALT,${clean(reason)}` : 'HALT'
}

/** Without `temporary` a stock client exits. */
export function authFailedMessage(reason = '', temporary?: TemporaryFailure): string {
  if (temporary) {
    const { backoffSeconds, advance } = temporary
    const flags = [
      ...(backoffSeconds === undefined ? [] : [`backoff ${backoffSeconds}`]),
      ...(advance === undefined ? [] : [`advance ${advance}`]),
    ]
    return `AUTH_FAILED,TEMP[${flags.join(',')}]:${clean(reason)}`
  }
  return reason ? `AUTH_FAILED,${clean(reason)}` : 'AUTH_FAILED'
}

/** Text for a stock client's log: printable ASCII, bounded. */
function clean(reason: string): string {
  return reason.replace(/[^\x20-\x7e]/g, '?').slice(0, 256)
}

/** Takes the text of one message without its NUL; undefined when it holds what no peer sends (CVE-2024-5594). */
export function parseControlMessage(raw: string): ControlMessage | undefined {
  const text = raw.replace(/[\r\n]+$/, '')
  if (text.length === 0 || text.length >= MAX_CONTROL_MESSAGE || /[^\x20-\x7e]/.test(text)) return undefined
  const comma = text.indexOf(',')
  const word = comma < 0 ? text : text.slice(0, comma)
  const rest = comma < 0 ? '' : text.slice(comma + 1)
  switch (word) {
    case 'PUSH_REQUEST':
      return { type: 'push-request' }
    case 'PUSH_REPLY': {
      const options = rest === '' ? [] : rest.split(',')
      const more = options.includes('push-continuation 2')
      return { type: 'push-reply', options: options.filter(o => !o.startsWith('push-continuation ')), more }
    }
    case 'PUSH_UPDATE':
      return { type: 'push-update', options: rest === '' ? [] : rest.split(',') }
    case 'RESTART': {
      const flags = /^\[([A-Z]*)\]/.exec(rest)
      const target = flags?.[1].includes('N') ? 'next' : 'same'
      return { type: 'restart', target, reason: flags ? rest.slice(flags[0].length) : rest }
    }
    case 'HALT':
      return { type: 'halt', reason: rest }
    case 'EXIT':
      return { type: 'exit' }
    case 'AUTH_FAILED':
      return parseAuthFailed(rest)
    default:
      return { type: 'other', text }
  }
}

/** `TEMP`, `TEMP[backoff 5,advance no]` or either with `:reason` behind it, beside plain reasons. */
function parseAuthFailed(rest: string): ControlMessage {
  const temporary = /^TEMP(?:\[([^\]]*)\])?(?::(.*))?$/.exec(rest)
  if (!temporary) return { type: 'auth-failed', reason: rest }
  const flags: TemporaryFailure = {}
  for (const flag of (temporary[1] ?? '').split(',')) {
    const backoff = /^backoff ([0-9]{1,5})$/.exec(flag)
    if (backoff) flags.backoffSeconds = Number(backoff[1])
    const advance = /^advance (no|addr|remote)$/.exec(flag)
    if (advance) flags.advance = advance[1] as TemporaryFailure['advance']
  }
  return { type: 'auth-failed', reason: temporary[2] ?? '', temporary: flags }
}

/** Gathers the parts of a split PUSH_REPLY. */
export class PushReplyCollector {
  #options: string[] = []
  #parts = 0

  /** All options once the last part is there; `undefined` before; `'bad'` when there are too many parts. */
  add(message: { options: string[]; more: boolean }): string[] | 'bad' | undefined {
    if (++this.#parts > MAX_PUSH_PARTS) return 'bad'
    this.#options.push(...message.options)
    if (message.more) return undefined
    const options = this.#options
    this.#options = []
    this.#parts = 0
    return options
  }
}

/** Cuts the byte stream inside TLS into control texts, empty ones left out; an overlong text makes it `'bad'`. */
export class ControlTextSplitter {
  #pending = Buffer.alloc(0)

  push(bytes: Uint8Array): string[] | 'bad' {
    const stream = Buffer.concat([this.#pending, bytes])
    const texts: string[] = []
    let start = 0
    for (let end = stream.indexOf(0); end >= 0; end = stream.indexOf(0, start)) {
      if (end - start >= MAX_CONTROL_MESSAGE) return 'bad'
      if (end > start) texts.push(stream.toString('latin1', start, end))
      start = end + 1
    }
    if (stream.length - start >= MAX_CONTROL_MESSAGE) return 'bad'
    // A copy, so that a few pending bytes do not hold a whole record.
    this.#pending = Buffer.from(stream.subarray(start))
    return texts
  }
}
