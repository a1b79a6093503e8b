// Passwords and passphrases: from the first line of a file, or asked for on the terminal; never from arguments, which
// every user of the machine can read.
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CommandError } from './errors.ts'

/** The first line of a file, or of standard input for `-`. @throws {CommandError} when it is not there or empty */
export async function readSecret(file: string, what: string): Promise<string> {
  const input = file === '-' ? process.stdin : createReadStream(file, { end: 4095 })
  try {
    for await (const line of createInterface({ input })) {
      if (line !== '') return line
      break
    }
  } catch (error) {
    throw new CommandError(`cannot read ${what} from ${file} (${(error as Error).message})`, { cause: error })
  } finally {
    if (input !== process.stdin) input.destroy()
  }
  throw new CommandError(`the first line of ${file} is empty; put ${what} there`)
}

/** Asks on the terminal without showing what is typed. @throws {CommandError} without a terminal, or when left empty */
export async function askSecret(what: string, option: string): Promise<string> {
  if (!process.stdin.isTTY)
    throw new CommandError(`there is no terminal to ask for ${what}; give ${option} FILE`)
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const prompt = createInterface({ input: process.stdin, output: silent, terminal: true })
  process.stderr.write(`${what}: `)
  try {
    return await new Promise<string>((resolve, reject) => {
      prompt.once('SIGINT', () => reject(new CommandError('interrupted')))
      prompt.once('close', () => reject(new CommandError(`no ${what} given`)))
      prompt.once('line', line =>
        line === '' ? reject(new CommandError(`no ${what} given`)) : resolve(line),
      )
    })
  } finally {
    prompt.close()
    process.stderr.write('\n')
  }
}
