// The data directory: what lies where, written so that a crash leaves the old content or the new, and readable by its
// owner only.
//
//   config.json            what the machine's operator chose: names of sockets, nothing secret
//   identity.key           Ed25519 key of this controller; its id is the hash of the public half
//   authority/root.key     key of the mesh root, on the founding controller until it is moved away
//   pki/                   mesh root's certificate; issuing CA and server certificate of this controller with their keys
//   secrets/               keys shared by the controllers of the mesh
//   clients/SERIAL.json    private half of a credential issued here
//   invites/ID.json        an invitation that was not used yet; its secret is not there
//   state/                 LevelDB: the replica
//   restored.json          the directory was made from a backup, and the controller has not run since
//   run/api.sock           socket of the running controller
//   run/boot               number of its latest start
//   run/gateway.json       what the running controller made in this machine's kernel
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import {
  access,
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { MAX_API_LISTEN, MAX_API_NAMES } from './service-api.ts'

/** Of the whole directory but for the records. It rises with what an older version would read wrongly. */
export const CONFIG_VERSION = 1

/** What `init` and `join` settle for this machine, with whatever newer versions add. Durations are in seconds. */
export const Config = Type.Object({
  version: Type.Literal(CONFIG_VERSION),
  controller: Type.String(),
  controllerId: Type.String(),
  listen: Type.Array(Type.String(), { minItems: 1, maxItems: 16 }),
  meshListen: Type.String(),
  /** The API over TCP; it is on the unix socket alone without. */
  api: Type.Optional(
    Type.Object({
      listen: Type.Array(Type.String(), { maxItems: MAX_API_LISTEN }),
      /** Further names for its certificate. */
      names: Type.Array(Type.String(), { maxItems: MAX_API_NAMES }),
    }),
  ),
  /** Where figures are served by plain HTTP; nowhere without. */
  metricsListen: Type.Optional(Type.String()),
  lifetimes: Type.Object({
    issuing: Type.Number({ minimum: 1 }),
    server: Type.Number({ minimum: 1 }),
    client: Type.Number({ minimum: 1 }),
    /** Of the data-channel keys of a session, and of a backbone link: they are renewed by then. */
    sessionKeys: Type.Number({ minimum: 4 }),
  }),
})
export type Config = Type.Static<typeof Config>

/** As {@link DataDirectory.write} names what it writes before that has its place. */
const TEMPORARY = /\.[0-9a-f]{12}\.tmp$/

export type DataDirectoryErrorCode = 'MISSING' | 'NOT_EMPTY' | 'INCOMPLETE' | 'DAMAGED' | 'DENIED' | 'NEWER'

export class DataDirectoryError extends Error {
  override name = 'DataDirectoryError'
  readonly code: DataDirectoryErrorCode
  constructor(code: DataDirectoryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Paths and safe file access below one data directory. */
export class DataDirectory {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  get configFile(): string {
    return join(this.root, 'config.json')
  }
  get identityKey(): string {
    return join(this.root, 'identity.key')
  }
  get rootKey(): string {
    return join(this.root, 'authority', 'root.key')
  }
  get rootCertificate(): string {
    return join(this.root, 'pki', 'root.crt')
  }
  get issuingKey(): string {
    return join(this.root, 'pki', 'issuing.key')
  }
  get issuingCertificate(): string {
    return join(this.root, 'pki', 'issuing.crt')
  }
  get serverKey(): string {
    return join(this.root, 'pki', 'server.key')
  }
  get serverCertificate(): string {
    return join(this.root, 'pki', 'server.crt')
  }
  get tlsCryptKey(): string {
    return join(this.root, 'secrets', 'tls-crypt-v2.key')
  }
  get state(): string {
    return join(this.root, 'state')
  }
  get eventsFile(): string {
    return join(this.root, 'events.jsonl')
  }
  get restoredFile(): string {
    return join(this.root, 'restored.json')
  }
  get bootFile(): string {
    return join(this.root, 'run', 'boot')
  }
  get gatewayFile(): string {
    return join(this.root, 'run', 'gateway.json')
  }
  /** Of the IKE daemon: its configuration and socket. */
  get ipsec(): string {
    return join(this.root, 'run', 'ipsec')
  }
  get socket(): string {
    return join(this.root, 'run', 'api.sock')
  }
  get clientSecrets(): string {
    return join(this.root, 'clients')
  }
  clientSecret(serial: string): string {
    return join(this.clientSecrets, `${serial}.json`)
  }
  /** Of credentials that no record speaks of yet. Before `clients` in the alphabet: a backup misses none that moves there. */
  get newClientSecrets(): string {
    return join(this.root, 'arriving')
  }
  newClientSecret(serial: string): string {
    return join(this.newClientSecrets, `${serial}.json`)
  }

  get invites(): string {
    return join(this.root, 'invites')
  }
  invite(id: string): string {
    return join(this.invites, `${id}.json`)
  }

  /** Top-level paths of all that may be in it but for the configuration. */
  everything(): string[] {
    const names = [
      'identity.key',
      'authority',
      'pki',
      'secrets',
      'arriving',
      'clients',
      'invites',
      'state',
      'events.jsonl',
      'run',
    ]
    return names.map(name => join(this.root, name))
  }

  /** Reads and checks the configuration. @throws DataDirectoryError that says what to do. */
  async readConfig(): Promise<Config> {
    await this.#reachable()
    let text: string
    try {
      text = await readFile(this.configFile, 'utf8')
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw this.#denied(error)
      const entries = await readdir(this.root)
      if (entries.length === 0) throw this.#missing()
      if (await exists(this.restoredFile)) {
        throw new DataDirectoryError(
          'INCOMPLETE',
          `a restore into ${this.root} was cut short, and what is there is of no use; run \`overmesh restore\` again, with the same --data`,
        )
      }
      throw new DataDirectoryError(
        'INCOMPLETE',
        `${this.root} has files but no config.json; restore it from a backup; if an init or join was cut short here, nothing in it was ever used: ` +
          'move the directory away and begin again',
      )
    }
    const config = parseJson(text)
    if (config && typeof config === 'object' && 'version' in config) {
      const { version } = config
      if (typeof version === 'number' && version > CONFIG_VERSION) {
        throw new DataDirectoryError(
          'NEWER',
          `${this.configFile} was written by a newer Overmesh (format ${version}, this version reads ${CONFIG_VERSION}); ` +
            'run that version, or restore a backup that this one made',
        )
      }
    }
    if (!Value.Check(Config, config)) {
      throw new DataDirectoryError(
        'DAMAGED',
        `${this.configFile} is damaged; restore it from a backup (nothing was changed)`,
      )
    }
    return config
  }

  async writeConfig(config: Config): Promise<void> {
    await this.write(this.configFile, `${JSON.stringify(config, null, 2)}\n`)
  }

  /** Whether a mesh lives here. */
  async initialised(): Promise<boolean> {
    return exists(this.configFile)
  }

  /** Makes the directory if need be. @throws DataDirectoryError when something is in it already. */
  async claim(): Promise<void> {
    try {
      await mkdir(this.root, { recursive: true, mode: 0o700 })
      if ((await readdir(this.root)).length > 0) {
        const what = (await this.initialised()) ? 'holds a controller already' : 'is not empty'
        throw new DataDirectoryError(
          'NOT_EMPTY',
          `${this.root} ${what}; nothing was changed: choose another with --data`,
        )
      }
      await chmod(this.root, 0o700)
    } catch (error) {
      if (error instanceof DataDirectoryError) throw error
      if (isErrno(error, 'ENOTDIR') || isErrno(error, 'EEXIST')) {
        throw new DataDirectoryError('DENIED', `${this.root} is not a directory; choose another with --data`)
      }
      throw this.#denied(error)
    }
  }

  async read(path: string): Promise<string> {
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      if (isErrno(error, 'ENOENT')) {
        throw new DataDirectoryError('DAMAGED', `${path} is missing; restore it from a backup`, {
          cause: error,
        })
      }
      throw this.#denied(error)
    }
  }

  async readIfThere(path: string): Promise<string | undefined> {
    return (await exists(path)) ? this.read(path) : undefined
  }

  /** Replaces a file: temporary file, fsync, rename, fsync of the directory. Mode 0600. */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
    try {
      const file = await open(temporary, 'wx', 0o600)
      try {
        await file.writeFile(content)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
    await syncDirectory(dirname(path))
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true })
  }

  /** Within the data directory. */
  async move(from: string, to: string): Promise<void> {
    await mkdir(dirname(to), { recursive: true, mode: 0o700 })
    await rename(from, to)
  }

  /**
   * Removes what {@link write} left where it was killed: keys may be in it. For whoever holds the lock of the store; the key
   * of the mesh root alone is written without.
   */
  async sweep(): Promise<void> {
    const authority = dirname(this.rootKey)
    for (const directory of [this.root, ...this.everything()]) {
      if (directory === this.state || directory === authority) continue
      const names = await readdir(directory).catch(() => [] as string[])
      for (const name of names) if (TEMPORARY.test(name)) await this.remove(join(directory, name))
    }
  }

  /**
   * Closes what others could read. Keys that were readable by others are no longer secret: the caller reports what
   * this returns.
   */
  async tighten(): Promise<string[]> {
    const loose: string[] = []
    const visit = async (path: string): Promise<void> => {
      const info = await lstat(path)
      if (info.isSymbolicLink()) return
      if ((info.mode & 0o077) !== 0 && (info.isDirectory() || info.isFile())) {
        loose.push(path)
        await chmod(path, info.isDirectory() ? 0o700 : 0o600)
      }
      if (info.isDirectory() && path !== this.state) {
        for (const entry of await readdir(path)) await visit(join(path, entry))
      }
    }
    await visit(this.root)
    return loose
  }

  /** What root made in another user's directory would keep that user's controller from starting: it is handed over. */
  async giveToOwner(): Promise<void> {
    if (process.getuid?.() !== 0) return
    const root = await open(this.root, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      const { uid, gid } = await root.stat()
      if (uid !== 0) await giveAll(root, uid, gid)
    } finally {
      await root.close()
    }
  }

  async #reachable(): Promise<void> {
    try {
      if (!(await stat(this.root)).isDirectory()) {
        throw new DataDirectoryError('DENIED', `${this.root} is not a directory; choose another with --data`)
      }
      await access(this.root, constants.R_OK | constants.X_OK)
    } catch (error) {
      if (error instanceof DataDirectoryError) throw error
      if (isErrno(error, 'ENOENT')) throw this.#missing()
      throw this.#denied(error)
    }
  }

  #missing(): DataDirectoryError {
    return new DataDirectoryError(
      'MISSING',
      `no controller in ${this.root}; create one with \`overmesh init\`, or name its directory with --data`,
    )
  }

  #denied(error: unknown): DataDirectoryError {
    const reason = error instanceof Error ? error.message : String(error)
    return new DataDirectoryError(
      'DENIED',
      `cannot use ${this.root} (${reason}); run as its owner, or choose another with --data`,
      { cause: error },
    )
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return false
    throw error
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const OWN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * Gives what is root's in a directory to its owner. That owner may change it meanwhile, and must not come by root's other files: so
 * nothing is named but by its open directory, no link is followed, and a file with a second name stays root's.
 */
async function giveAll(directory: FileHandle, uid: number, gid: number): Promise<void> {
  const at = `/proc/self/fd/${directory.fd}`
  for (const name of await readdir(at)) {
    // A symbolic link or a socket cannot be opened, and is nothing that a controller reads.
    const file = await open(`${at}/${name}`, OWN_FILE).catch(() => undefined)
    if (file === undefined) continue
    try {
      const info = await file.stat()
      const isDirectory = info.isDirectory()
      if (info.uid === 0 && (isDirectory || (info.isFile() && info.nlink === 1))) await file.chown(uid, gid)
      if (isDirectory) await giveAll(file, uid, gid)
    } finally {
      await file.close()
    }
  }
}
