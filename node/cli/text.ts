// Text for people: what comes from the network or a file is made harmless for a terminal, numbers are made readable.

// C0 and C1 controls, DEL, line separators and the bidirectional overrides that make text look like other text.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** Without characters that move a cursor, change colours or reorder what is shown. */
export function printable(text: string): string {
  return text.replace(UNSAFE, '')
}

/** As one line: line breaks become spaces, other unsafe characters go. */
export function oneLine(text: string): string {
  return printable(text.replace(/\s*[\r\n]+\s*/g, ' ')).trim()
}

/** JSON that is safe to show: the same document, with unsafe characters as escapes. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(UNSAFE, character =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Decimal units: `0 B`, `999 B`, `1.2 MB`. */
export function formatBytes(bytes: number): string {
  let unit = 0
  let value = bytes
  while (value >= 999.95 && unit < BYTE_UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[unit]}`
}

/** The two largest units that matter: `42s`, `3m 20s`, `5h 0m`, `12d 4h`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const days = Math.floor(whole / 86400)
  const hours = Math.floor((whole % 86400) / 3600)
  const minutes = Math.floor((whole % 3600) / 60)
  if (days > 0) return `${days}d ${hours}h`
  if (hours > 0) return `${hours}h ${minutes}m`
  if (minutes > 0) return `${minutes}m ${whole % 60}s`
  return `${whole}s`
}

/** How long ago an ISO 8601 instant was; `-` for none. */
export function formatSince(instant: string | null, now = Date.now()): string {
  const time = instant === null ? Number.NaN : Date.parse(instant)
  return Number.isNaN(time) ? '-' : formatDuration((now - time) / 1000)
}

/** The day of an instant, and how far away it is: `2036-01-02 (in 3652d)`. */
export function formatExpiry(instant: string, now = Date.now()): string {
  const days = Math.floor((Date.parse(instant) - now) / 86_400_000)
  const distance = days < 0 ? 'expired' : days === 0 ? 'today' : `in ${days}d`
  return `${instant.slice(0, 10)} (${distance})`
}

/** On how many controllers a write is; nothing in a mesh of one. */
export function formatStored(storedOn: { controllers: number; of: number } | undefined): string {
  if (storedOn === undefined || storedOn.of < 2) return ''
  return `; stored on ${storedOn.controllers} of ${storedOn.of} controllers`
}

/** What there is over IPv4, and over IPv6 if the overlay has that. */
export function bothOf(four: string, six: string | undefined): string {
  return six === undefined ? four : `${four} ${six}`
}
