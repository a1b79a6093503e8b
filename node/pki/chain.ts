// Whether a certificate can be trusted, with the reason when it cannot (RFC 5280 section 6, as far as a mesh needs it:
// a fixed shape of root, issuing CA and leaf, and no policies or name constraints).
import type { X509Certificate } from 'node:crypto'
import { PkiError } from './errors.ts'

export type Purpose = 'authority' | 'server' | 'client'

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'

/**
 * Checks a leaf with its issuing CA and the mesh root, at a time.
 * @param intermediates the issuing CA, or none when `leaf` is itself signed by the root; more than one are candidates
 * @param now milliseconds since 1970
 * @param purpose what the leaf is to be used for; unchecked if absent
 * @throws PkiError UNTRUSTED, EXPIRED, NOT_YET_VALID or WRONG_PURPOSE
 */
export function verifyChain(
  leaf: X509Certificate,
  intermediates: readonly X509Certificate[],
  root: X509Certificate,
  now: number,
  purpose?: Purpose,
): void {
  if (!root.ca || !isIssuedBy(root, root))
    throw new PkiError('UNTRUSTED', 'the mesh root is not a root certificate')
  checkTime('the mesh root', root, now)
  if (!isIssuedBy(leaf, root)) {
    if (leaf.ca) throw new PkiError('UNTRUSTED', 'the authority is not signed by the mesh root itself')
    const candidates = intermediates.filter(authority => isIssuedBy(leaf, authority))
    // One CA may be there with its old and its renewed certificate: any that holds will do.
    firstThatHolds(candidates, authority => {
      if (!isIssuedBy(authority, root)) {
        throw new PkiError('UNTRUSTED', 'the issuing CA is not signed by the mesh root')
      }
      checkTime('the issuing CA', authority, now)
    })
  }
  checkTime('the certificate', leaf, now)
  if (purpose !== undefined) checkPurpose(leaf, purpose)
}

function firstThatHolds(candidates: readonly X509Certificate[], check: (one: X509Certificate) => void): void {
  let reason = new PkiError('UNTRUSTED', 'the certificate is signed by no authority of this mesh')
  for (const candidate of candidates) {
    try {
      check(candidate)
      return
    } catch (error) {
      if (!(error instanceof PkiError)) throw error
      reason = error
    }
  }
  throw reason
}

function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey)
}

function checkTime(what: string, certificate: X509Certificate, now: number): void {
  const { validFromDate, validToDate } = certificate
  if (now < validFromDate.getTime()) {
    throw new PkiError(
      'NOT_YET_VALID',
      `${what} is valid only from ${validFromDate.toISOString()}; check the clock`,
    )
  }
  if (now > validToDate.getTime()) {
    throw new PkiError('EXPIRED', `${what} expired on ${validToDate.toISOString()}; it must be renewed`)
  }
}

/** Node names extended key usages `keyUsage`. */
function checkPurpose(leaf: X509Certificate, purpose: Purpose): void {
  const usages = leaf.keyUsage ?? []
  const good =
    purpose === 'authority'
      ? leaf.ca
      : !leaf.ca && usages.includes(purpose === 'server' ? SERVER_AUTH : CLIENT_AUTH)
  if (!good)
    throw new PkiError(
      'WRONG_PURPOSE',
      `the certificate is not that of a${purpose === 'authority' ? 'n' : ''} ${purpose}`,
    )
}
