// The private halves of credentials that this controller issued, each a file named by its serial number. One is written before
// the record that speaks of it, aside; whoever opens the data directory next after a crash knows by the records which of
// them count.
import { readdir } from 'node:fs/promises'
import { parseSerial, type Serial } from '../state/kinds.ts'
import type { Replica } from '../state/replica.ts'
import type { DataDirectory } from './data-directory.ts'

/** The private half of a credential and what goes with it into a clientpack; PEM all. */
export interface ClientSecret {
  certificate: string
  privateKey: string
  tlsCryptV2: string
}

const FILE = /^([0-9a-f]+)\.json$/

export class ClientSecrets {
  readonly #directory: DataDirectory

  constructor(directory: DataDirectory) {
    this.#directory = directory
  }

  /** Of a credential that no record speaks of yet. */
  async add(serial: Serial, secret: ClientSecret): Promise<void> {
    await this.#directory.write(this.#directory.newClientSecret(serial), `${JSON.stringify(secret)}\n`)
  }

  /** Records speak of it now. Should it not be moved, it is found where it is. */
  async keep(serial: Serial): Promise<void> {
    const directory = this.#directory
    await directory.move(directory.newClientSecret(serial), directory.clientSecret(serial)).catch(() => {})
  }

  /** Of a certificate that no record speaks of, or not any more. */
  async forget(serial: Serial): Promise<void> {
    await this.#directory.remove(this.#directory.newClientSecret(serial))
    await this.#directory.remove(this.#directory.clientSecret(serial))
  }

  /** Undefined where it is not here. */
  async read(serial: Serial): Promise<ClientSecret | undefined> {
    const directory = this.#directory
    const text =
      (await directory.readIfThere(directory.clientSecret(serial))) ??
      (await directory.readIfThere(directory.newClientSecret(serial)))
    return text === undefined ? undefined : (JSON.parse(text) as ClientSecret)
  }

  /** Ends what a crash cut short. To be called before anything is written. */
  async settle(replica: Pick<Replica, 'all' | 'has'>): Promise<void> {
    const added = await serialsIn(this.#directory.newClientSecrets)
    const known = new Set(added.length === 0 ? [] : serialsOf(replica))
    for (const serial of added) await (known.has(serial) ? this.keep(serial) : this.forget(serial))
    for (const serial of await serialsIn(this.#directory.clientSecrets))
      if (replica.has('revocation', serial)) await this.forget(serial)
  }
}

/** Of the certificates that records speak of. */
function* serialsOf(replica: Pick<Replica, 'all'>): Iterable<Serial> {
  for (const { value } of replica.all('client')) yield value.serial
  for (const { value } of replica.all('revocation')) if (value.successor) yield value.successor.serial
}

async function serialsIn(path: string): Promise<Serial[]> {
  const names = await readdir(path).catch(() => [] as string[])
  return names.flatMap(name => parseSerial(FILE.exec(name)?.[1] ?? '') ?? [])
}
