// Makes the mesh as a document has it, in one batch of records: killed at any time, nothing of it is so, or all.
import { Clients, isUncertain } from '../clients.ts'
import type { Home } from '../home.ts'
import { newPrivateKey } from '../pki/keys.ts'
import type { ReconcileRequest } from '../service-desired.ts'
import { ServiceError } from '../service-error.ts'
import type { Allotted, Newcomer, Plan } from './draft.ts'
import { planDesired } from './plan.ts'

/** Credentials that are made at once. */
const AT_ONCE = 16

/**
 * @returns the plan that was carried out; one with problems was not, nor is any for a dry run
 * @throws ServiceError refused when the mesh changed in between so that the plan does not hold any more
 */
export async function reconcile(home: Home, request: ReconcileRequest): Promise<Plan> {
  const { desired, prune = false, dryRun = false } = request
  const allotted: Allotted = { clients: new Map(), attachments: new Map(), issued: new Map() }
  const plan = () => planDesired(home, desired, prune, allotted)
  const first = plan()
  if (dryRun || first.problems.length > 0) return first
  if (first.ops.length === 0 && first.newcomers.length === 0) return first
  const clients = new Clients(home)
  let written: Plan | undefined
  try {
    for (let at = 0; at < first.newcomers.length; at += AT_ONCE)
      await Promise.all(first.newcomers.slice(at, at + AT_ONCE).map(each => issue(clients, allotted, each)))
    await home.replica.write(() => {
      // Others may have written since: what is written is what is right now.
      const now = plan()
      const isOther = now.newcomers.some(({ name }) => !allotted.issued.has(name))
      if (isOther || now.problems.length > 0) throw changedMeanwhile(now)
      written = now
      return now.ops
    })
  } catch (error) {
    if (!isUncertain(error)) await settleSecrets(clients, allotted, undefined)
    throw error
  }
  await settleSecrets(clients, allotted, written)
  for (const serial of written!.revoked) await clients.forgetSecret(serial)
  return written!
}

/** The key is on the disk before any record speaks of it. */
async function issue(clients: Clients, { issued }: Allotted, { id, name, address }: Newcomer): Promise<void> {
  issued.set(name, await clients.issue(id, name, address, newPrivateKey()))
}

async function settleSecrets(
  clients: Clients,
  { issued }: Allotted,
  written: Plan | undefined,
): Promise<void> {
  const used = new Set(written?.newcomers.map(({ name }) => name))
  for (const [name, { serial }] of issued)
    await (used.has(name) ? clients.keepSecret(serial) : clients.forgetSecret(serial))
}

function changedMeanwhile({ problems }: Plan): ServiceError {
  const why = problems.length > 0 ? `: ${problems[0].message}` : ''
  return new ServiceError('refused', `the mesh was changed meanwhile${why}; nothing was imported, try again`)
}
