// Which clients of other controllers have not heard of the routes that there are now: only their controllers know what they were told,
// and are asked when somebody wants to see it.
import type { Inquiries } from '../mesh/inquiries.ts'
import { MAX_ANSWER } from '../mesh/messages.ts'
import { type ClientId, type ControllerId, isClientId } from '../state/kinds.ts'

/** What is asked. An older version does not understand it, and gives no answer. */
export const BEHIND_QUESTION = 'behind'

/** ms to wait for answers: an operator is waiting, too. */
const PATIENCE = 500
/** Characters of an id and what separates it from the next. */
const EACH = 17
const MOST = Math.floor(MAX_ANSWER / EACH)

/** As text; of more than fit in an answer the first are told. */
export function writeBehind(clients: readonly ClientId[]): string {
  return clients.slice(0, MOST).join(' ')
}

/** What is no id in it is passed over. */
export function readBehind(text: string): ClientId[] {
  return text.split(' ').slice(0, MOST).filter(isClientId)
}

/** Whom controllers tell to be behind; one that does not answer in time tells of none. */
export async function behindAt(
  controllers: Iterable<ControllerId>,
  inquiries: Pick<Inquiries, 'ask'>,
): Promise<Set<ClientId>> {
  const answers = [...controllers].map(each => inquiries.ask(each, BEHIND_QUESTION, PATIENCE))
  const told = await Promise.all(answers)
  return new Set(told.flatMap(text => (text === undefined ? [] : readBehind(text))))
}
