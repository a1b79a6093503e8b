// What can go wrong with keys and certificates, in words for the operator.

export type PkiErrorCode =
  /** A name, address, host or lifetime that no certificate may carry. */
  | 'BAD_ARGUMENT'
  /** Neither a certificate nor a key that can be read. */
  | 'UNREADABLE'
  /** A key is encrypted, and not with this passphrase. */
  | 'WRONG_PASSPHRASE'
  /** Key and certificate do not belong together. */
  | 'KEY_MISMATCH'
  /** A certificate is not signed by the one that should have. */
  | 'UNTRUSTED'
  /** A certificate's validity has not begun. */
  | 'NOT_YET_VALID'
  /** A certificate's validity is over. */
  | 'EXPIRED'
  /** A certificate must not be used for what it is used for. */
  | 'WRONG_PURPOSE'

/** The message says what is wrong and, where it can, what to do. */
export class PkiError extends Error {
  override name = 'PkiError'
  readonly code: PkiErrorCode

  constructor(code: PkiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
