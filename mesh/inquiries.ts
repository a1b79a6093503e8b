// Questions to another controller that only it can answer: what it sees now, and nobody replicates. One that does not answer in
// time, or is gone, has no answer.
import type { ControllerId } from '../state/kinds.ts'
import type { Frame } from './messages.ts'

/** Answers that are awaited, and questions of one peer that are being answered, at a time. */
const MAX_OPEN = 256
const MAX_ANSWERING = 16
/** ms to wait for an answer, unless told otherwise. */
const PATIENCE = 1000

export interface InquiriesInit {
  readonly send: (peer: ControllerId, frame: Frame) => boolean
  /** A question could not be answered: by a mistake here, whatever was asked. */
  readonly onFailure: (error: unknown) => void
}

interface Waiting {
  readonly peer: ControllerId
  readonly settle: (text: string | undefined) => void
}

export class Inquiries {
  /** Answers a question of an admitted controller; undefined for one that is not understood. */
  onAsk: (about: string, peer: ControllerId) => Promise<string | undefined> = async () => undefined
  readonly #init: InquiriesInit
  readonly #waiting = new Map<number, Waiting>()
  readonly #answering = new Map<ControllerId, number>()
  #last = 0

  constructor(init: InquiriesInit) {
    this.#init = init
  }

  /** Resolves to undefined when there is no channel to the peer, or no answer. */
  ask(peer: ControllerId, about: string, patience = PATIENCE): Promise<string | undefined> {
    const number = ++this.#last
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    if (this.#waiting.size >= MAX_OPEN) return Promise.resolve(undefined)
    const timer = setTimeout(() => settle(undefined), patience)
    const settle = (text: string | undefined): void => {
      clearTimeout(timer)
      this.#waiting.delete(number)
      resolve(text)
    }
    this.#waiting.set(number, { peer, settle })
    if (!this.#init.send(peer, { type: 'ask', number, about })) settle(undefined)
    return promise
  }

  receive(peer: ControllerId, frame: Frame & { type: 'ask' | 'told' }): void {
    if (frame.type === 'ask') {
      void this.#answer(peer, frame.number, frame.about)
      return
    }
    const waiting = this.#waiting.get(frame.number)
    if (waiting?.peer === peer) waiting.settle(frame.text)
  }

  /** The channel to a peer closed. */
  parted(peer: ControllerId): void {
    for (const waiting of [...this.#waiting.values()]) if (waiting.peer === peer) waiting.settle(undefined)
  }

  close(): void {
    for (const { settle } of [...this.#waiting.values()]) settle(undefined)
  }

  async #answer(peer: ControllerId, number: number, about: string): Promise<void> {
    const busy = this.#answering.get(peer) ?? 0
    if (busy >= MAX_ANSWERING) return
    this.#answering.set(peer, busy + 1)
    try {
      const text = await this.onAsk(about, peer)
      if (text !== undefined) this.#init.send(peer, { type: 'told', number, text })
    } catch (error) {
      this.#init.onFailure(error)
    } finally {
      const left = (this.#answering.get(peer) ?? 1) - 1
      if (left > 0) this.#answering.set(peer, left)
      else this.#answering.delete(peer)
    }
  }
}
