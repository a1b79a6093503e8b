export type ViciErrorCode =
  /** Bytes that are no VICI, or more of them than the protocol allows. */
  | 'malformed'
  /** The daemon answered that it did not do it. */
  | 'refused'
  /** The daemon knows no such command or event. */
  | 'unknown'
  | 'timeout'
  | 'closed'
  /** More requests wait than are kept. */
  | 'busy'

export class ViciError extends Error {
  override name = 'ViciError'
  readonly code: ViciErrorCode
  constructor(code: ViciErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
