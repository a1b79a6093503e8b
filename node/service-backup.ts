// What a controller offers its operator for a disaster: a copy of itself.
import { type Static, Type } from 'typebox'

export const BackupRequest = Type.Object(
  {
    passphrase: Type.String({
      minLength: 1,
      maxLength: 4096,
      description: 'protects the backup; without it, it is of no use',
    }),
  },
  { additionalProperties: false },
)
export type BackupRequest = Static<typeof BackupRequest>

export interface BackupService {
  /** All that is needed to be this controller again, as of one moment, encrypted; see backup/. */
  backup(passphrase: string): Promise<AsyncIterable<Uint8Array>>
}
