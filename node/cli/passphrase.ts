// The passphrase of a file that is encrypted with one.
import { CommandError } from './errors.ts'
import type { Output } from './output.ts'
import { askSecret, firstBytes, firstLine, firstLineBefore, readSecret } from './secret.ts'

export const PASSPHRASE_FILE =
  'its first line is the passphrase (- reads standard input); asked for if absent'

const WHAT = 'the passphrase'
/** What bytes that are no text are read as, whichever they are. */
const NO_TEXT = '\ufffd'
/** Of errors by which a passphrase shows to be wrong. */
const WRONG = ['passphrase', 'WRONG_PASSPHRASE']

/** For what is to be encrypted. */
export async function newPassphrase(file: string | undefined): Promise<string> {
  if (file !== undefined) return readSecret(file, WHAT)
  const passphrase = await askSecret('passphrase', '--passphrase-file')
  if ((await askSecret('the same again', '--passphrase-file')) !== passphrase) {
    throw new CommandError('the two passphrases differ; nothing was written')
  }
  if (passphrase.includes(NO_TEXT))
    throw new CommandError(
      'what this terminal sends is no text in UTF-8; type other characters, or give --passphrase-file FILE',
    )
  return passphrase
}

/** Opens what was encrypted; by what older versions made of the file, where that is something else and does. */
export async function openBy<T>(
  file: string | undefined,
  output: Output,
  open: (passphrase: string) => Promise<T>,
): Promise<T> {
  if (file === undefined) return open(await askSecret('passphrase', '--passphrase-file'))
  const bytes = await firstBytes(file, WHAT)
  let passphrase: string | undefined
  try {
    passphrase = firstLine(bytes, file, WHAT)
    return await open(passphrase)
  } catch (error) {
    const before = firstLineBefore(bytes)
    if (before === undefined || before === passphrase) throw error
    if (passphrase !== undefined && !isWrong(error)) throw error
    const opened = await open(before).catch(again => {
      throw isWrong(again) ? error : again
    })
    output.note(
      `${file} opened it only as older versions read it, which took less from it than there is: other files are the same ` +
        'passphrase. Make a new one, such as by `openssl rand -base64 24`, and with it this anew',
    )
    return opened
  }
}

function isWrong(error: unknown): boolean {
  return WRONG.includes((error as { code?: string }).code ?? '')
}
