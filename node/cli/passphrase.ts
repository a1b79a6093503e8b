// The passphrase of a file that is encrypted with one.
import { CommandError } from './errors.ts'
import { askSecret, readSecret } from './secret.ts'

export const PASSPHRASE_FILE =
  'its first line is the passphrase (- reads standard input); asked for if absent'

/** @param twice asks again, for a passphrase that is new */
export async function passphraseFrom(file: string | undefined, twice: boolean): Promise<string> {
  if (file !== undefined) return readSecret(file, 'the passphrase')
  const passphrase = await askSecret('passphrase', '--passphrase-file')
  if (twice && (await askSecret('the same again', '--passphrase-file')) !== passphrase) {
    throw new CommandError('the two passphrases differ; nothing was written')
  }
  return passphrase
}
