// How attachments stand now, as the running controller knows it.
import type { ControllerId } from '../../state/kinds.ts'
import type { EngineState } from './engine.ts'
import type { Report } from './report.ts'

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
    /** `idle`: it does not run since nothing may be carried here; `problem` says so. */
    readonly state: EngineState | 'idle'
    readonly problem: string | undefined
    readonly esp: string | undefined
  }
  /** Where it is up, for everyone in reach; `since` in ms since 1970. */
  carrier(id: string): { readonly controller: ControllerId; readonly since: number } | undefined
  state(id: string): AttachmentState
  /**
   * What this controller, and the others that answer, say of problems and of the SAs of one attachment. A problem is forgotten once the
   * attachment is up there.
   */
  reports(id?: string): Promise<{ readonly controller: ControllerId; readonly report: Report }[]>
  /** Resolves when it is up, dialled by whichever controller is to dial. @throws IpsecError in plain words */
  comesUp(id: string): Promise<void>
}
