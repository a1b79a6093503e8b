// When certificates are renewed. Pure policy: times go in, times come out.
import { createHash, type X509Certificate } from 'node:crypto'

const DAY = 86_400
const YEAR = 365 * DAY

/** How long certificates are good for, in seconds, unless the operator says otherwise. */
export const LIFETIMES = {
  root: 30 * YEAR,
  issuing: 10 * YEAR,
  server: 90 * DAY,
  client: 5 * YEAR,
} as const

/** Share of the lifetime that is left when a certificate is renewed. */
const LEFT_AT_RENEWAL = 1 / 3

/** Renewals are spread over this share of the lifetime, so that a mesh's controllers do not all renew at once. */
const SPREAD = 1 / 20

/** After a renewal that failed, and between two looks at the clock at the least: a minute. */
const SHORTEST_WAIT = 60_000

/** Between two looks at the clock at most: a machine may have slept, or its clock have been set. */
const LONGEST_WAIT = 6 * 3_600_000

/**
 * When a certificate is to be renewed, milliseconds since 1970: with a third of its lifetime left, up to a twentieth of
 * the lifetime earlier by its own fingerprint, the same each time one asks.
 */
export function renewalTime(certificate: X509Certificate): number {
  const from = certificate.validFromDate.getTime()
  const to = certificate.validToDate.getTime()
  const share = Number.parseInt(hashOf(certificate), 16) / 2 ** 32
  return Math.floor(to - (to - from) * (LEFT_AT_RENEWAL + share * SPREAD))
}

export function renewalDue(certificate: X509Certificate, now: number): boolean {
  return now >= renewalTime(certificate)
}

/**
 * When to look again, milliseconds since 1970: at the first renewal to come, in a minute at the earliest and in six
 * hours at the latest. With one overdue (its renewal failed just now) the wait is a hundredth of what is left of it.
 */
export function nextCheck(certificates: readonly X509Certificate[], now: number): number {
  let wait = LONGEST_WAIT
  for (const certificate of certificates) {
    const until = renewalTime(certificate) - now
    const left = certificate.validToDate.getTime() - now
    wait = Math.min(wait, until > 0 ? until : left / 100)
  }
  return now + Math.max(SHORTEST_WAIT, Math.floor(wait))
}

/** Eight hex digits that differ between certificates. */
function hashOf(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex').slice(0, 8)
}
