// How attachments stand now, as the running controller knows it.
import type { ControllerId } from '../../state/kinds.ts'
import type { EngineState, IkeSa } from './engine.ts'

export type AttachmentState =
  /** Packets pass, by this or another controller. */
  | 'up'
  /** It is being dialled. */
  | 'connecting'
  /** It waits for the site to dial, or for a controller that can. */
  | 'down'
  | 'disabled'

export interface AttachmentProblem {
  /** ms since 1970 */
  readonly at: number
  /** Plain words; never a secret. */
  readonly text: string
}

export interface AttachmentsLive {
  /** The IKE daemon here, and why it does not run. */
  readonly engine: {
    readonly state: EngineState
    readonly problem: string | undefined
    readonly esp: string | undefined
  }
  /** Where it is up, for everyone in reach; `since` in ms since 1970. */
  carrier(id: string): { readonly controller: ControllerId; readonly since: number } | undefined
  state(id: string): AttachmentState
  /** What went wrong here last; undefined once it is up. */
  problem(id: string): AttachmentProblem | undefined
  /** Those of this controller. */
  sas(id: string): Promise<IkeSa[]>
  /** Dials now where this controller is to dial; resolves when it is up. @throws IpsecError in plain words */
  dial(id: string): Promise<void>
}
