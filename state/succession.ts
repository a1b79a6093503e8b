// Which certificate of a client is good now. A rekey says it twice: in the client's record, and with the revocation of the certificate
// before. A change of the client made where the rekey was not known yet names the old certificate still, and stays if it was the later
// write; revocations stay always, and lead from there to the new one.
import type { ClientId, ClientValue, Kind, Values } from './kinds.ts'

/** Rekeys that one cut-off half may have missed. */
const MAX_SUCCESSORS = 100

/** A client's record with the certificate that is good now; the same object where that is the record's own. */
export function withCurrentCertificate(
  records: { get<K extends Kind>(kind: K, id: string): Values[K] | undefined },
  id: ClientId,
  value: ClientValue,
): ClientValue {
  let current = value
  for (let step = 0; step < MAX_SUCCESSORS; step++) {
    const revocation = records.get('revocation', current.serial)
    if (revocation?.successor === undefined || revocation.client !== id) break
    current = { ...value, ...revocation.successor }
  }
  return current
}
