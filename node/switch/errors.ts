// What the switch's owner may be told.

export type SwitchErrorCode =
  /** A listening address is taken. */
  | 'ADDRESS_IN_USE'
  /** A listening address does not exist here, or is no address. */
  | 'ADDRESS_UNUSABLE'
  /** A listening port needs privileges. */
  | 'PORT_FORBIDDEN'
  /** No TUN interface could be made. */
  | 'TUN_UNAVAILABLE'
  /** FFI, OpenSSL or the kernel lacks something that nothing works without. */
  | 'UNSUPPORTED'
  /** More ports or keys than there is room for. */
  | 'FULL'
  /** The loop ended by itself. */
  | 'FAILED'

/** Something a person has to know. The message says what is wrong and what to do. */
export class SwitchError extends Error {
  override readonly name = 'SwitchError'
  readonly code: SwitchErrorCode

  constructor(code: SwitchErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
