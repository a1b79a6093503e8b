// Every way in which the state says no. Bad bytes from a peer are not among them: those have outcomes, not errors.

export type StateErrorCode =
  /** The store is open in another process, or twice in this one. */
  | 'STORE_LOCKED'
  /** The store is there and cannot be read as one; nothing was changed. */
  | 'STORE_DAMAGED'
  /** The machine does not let the store be used: a full disk, a file of another user. It is not damaged, and nothing was changed. */
  | 'STORE_UNUSABLE'
  /** The store was written by a newer version. */
  | 'STORE_FORMAT'
  /** The store belongs to another controller. */
  | 'STORE_FOREIGN'
  /** A batch failed. The replica takes no more writes until it is opened again, since the disk may hold half the truth. */
  | 'STORE_FAILED'
  /** A value or id does not fit the schema of its kind. Nothing was written. */
  | 'INVALID'
  /** The address is leased to another holder. Nothing was written. */
  | 'ADDRESS_TAKEN'
  /** The rules of the kind forbid the write: a revocation taken back, another controller's own record. */
  | 'FORBIDDEN'
  /** This controller has no record in the mesh yet. */
  | 'NOT_ADMITTED'
  /** This controller was removed from the mesh. */
  | 'REMOVED'
  /** More writes are waiting than the stated bound. */
  | 'BUSY'
  /** The replica was closed. */
  | 'CLOSED'

/** The one error class of `state/`. The message is for a person: what is wrong; what to do. */
export class StateError extends Error {
  override readonly name = 'StateError'
  readonly code: StateErrorCode

  constructor(code: StateErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
