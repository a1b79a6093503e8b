// What can be wrong with a backup.

export type BackupErrorCode =
  | 'not-a-backup'
  | 'newer'
  | 'passphrase'
  | 'damaged'
  | 'truncated'
  | 'unreadable'
  | 'refused'

export class BackupError extends Error {
  override name = 'BackupError'
  readonly code: BackupErrorCode
  constructor(code: BackupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
