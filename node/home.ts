// One controller's data directory, opened: configuration, identity, records and certificates. Running and stopped
// controllers work on it alike; the lock of the store keeps two from it at once.
import { createPrivateKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { certificateTrust } from '../state/authority.ts'
import { StateError } from '../state/errors.ts'
import { type ControllerId, type ControllerValue, controllerIdOf } from '../state/kinds.ts'
import { LevelStore } from '../state/level-store.ts'
import { isSignedByAsync, rawPublicKey } from '../state/record.ts'
import { Replica } from '../state/replica.ts'
import { type MeshView, Views } from '../state/views.ts'
import { ClientSecrets } from './client-secrets.ts'
import { type Config, DataDirectory, DataDirectoryError } from './data-directory.ts'
import { parsePrivateKey } from './pki/keys.ts'
import { steadyNow } from './steady-clock.ts'
import { parseTlsCryptV2ServerKey } from './vpn/static-key.ts'

/** ms between two tries for the lock. */
const LOCK_RETRY_MS = 50

type HomeParts = Omit<
  Home,
  'mesh' | 'controller' | 'issuingCertificate' | 'problems' | 'obstacles' | 'close'
> & {
  loose: readonly string[]
}

export class Home {
  readonly directory: DataDirectory
  readonly config: Config
  readonly id: ControllerId
  /** Ed25519: signs records, and is this controller in the mesh. */
  readonly identityKey: KeyObject
  readonly replica: Replica
  readonly views: Views
  /** PEM */
  readonly rootCertificate: string
  /** EC P-256 key of the issuing CA. */
  readonly issuingKey: KeyObject
  /** tls-crypt-v2 server key of the mesh. */
  readonly tlsCryptKey: Uint8Array
  readonly #loose: readonly string[]

  private constructor(parts: HomeParts) {
    this.directory = parts.directory
    this.config = parts.config
    this.id = parts.id
    this.identityKey = parts.identityKey
    this.replica = parts.replica
    this.views = parts.views
    this.rootCertificate = parts.rootCertificate
    this.issuingKey = parts.issuingKey
    this.tlsCryptKey = parts.tlsCryptKey
    this.#loose = parts.loose
  }

  /**
   * @param patience ms to wait for the lock, which commands hold for a moment when no controller runs
   * @throws DataDirectoryError, StateError, PkiError; nothing is changed then
   */
  static async open(dataDir: string, patience = 0): Promise<Home> {
    const directory = new DataDirectory(dataDir)
    const { controllerId } = await directory.readConfig()
    const loose = await directory.tighten()
    const privateKey = await readIdentity(directory, controllerId)
    const root = await readCertificate(directory, directory.rootCertificate)
    const rootCertificate = root.toString()
    const issuingKey = await readKey(directory, directory.issuingKey)
    const issuing = await readCertificate(directory, directory.issuingCertificate)
    if (!issuing.checkPrivateKey(issuingKey)) {
      throw damaged(directory.issuingCertificate, `does not belong to ${directory.issuingKey}`)
    }
    const tlsCryptKey = parseTlsCryptV2ServerKey(await directory.read(directory.tlsCryptKey))
    if (!tlsCryptKey) throw damaged(directory.tlsCryptKey)
    const id = controllerId as ControllerId
    const store = await openStore(directory.state, steadyNow() + patience)
    const replica = await Replica.open({
      store,
      identity: { id, privateKey },
      trust: certificateTrust(rootCertificate),
      now: Date.now,
      random: randomBytes,
      isSigned: isSignedByAsync,
    })
    // Whoever had the lock before may have changed it.
    const config = await directory.readConfig().catch(async (error: unknown) => {
      await replica.close()
      throw error
    })
    const views = new Views(replica)
    if (!views.mesh() || !replica.get('controller', id)) {
      await replica.close()
      throw new StateError(
        'STORE_DAMAGED',
        `${directory.state} lacks the records of this mesh or controller; restore the directory from a backup ` +
          '(nothing was changed)',
      )
    }
    await directory.sweep()
    await new ClientSecrets(directory).settle(replica)
    return new Home({
      directory,
      config,
      id,
      identityKey: privateKey,
      replica,
      views,
      rootCertificate,
      issuingKey,
      tlsCryptKey,
      loose,
    })
  }

  /** What was found wrong, at opening or since, for a person; none of it keeps the controller from working. */
  get problems(): string[] {
    return [
      ...this.replica.problems.map(problem => problem.message),
      ...this.#loose.map(
        path => `${path} was open to other users and is closed now; keys in it may be known to them`,
      ),
    ]
  }

  /** Why no client should be sent here. */
  get obstacles(): string[] {
    return this.replica.problems.filter(({ code }) => code === 'store-failed').map(({ message }) => message)
  }

  get mesh(): MeshView {
    return this.views.mesh()!
  }

  /** The record of this controller. */
  get controller(): ControllerValue {
    return this.replica.get('controller', this.id)!
  }

  get issuingCertificate(): X509Certificate {
    return new X509Certificate(this.controller.certificateChain)
  }

  async close(): Promise<void> {
    this.views.close()
    await this.replica.close()
    // As far as it goes: what is left is told when its owner starts.
    await this.directory.giveToOwner().catch(() => {})
  }
}

/** @throws DataDirectoryError that names the file */
export async function readCertificate(directory: DataDirectory, path: string): Promise<X509Certificate> {
  const pem = await directory.read(path)
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw damaged(path, 'is damaged', error)
  }
}

/** An EC P-256 private key. @throws DataDirectoryError that names the file */
export async function readKey(directory: DataDirectory, path: string): Promise<KeyObject> {
  const pem = await directory.read(path)
  try {
    return parsePrivateKey(pem)
  } catch (error) {
    throw damaged(path, 'is damaged', error)
  }
}

function damaged(path: string, what = 'is damaged', cause?: unknown): DataDirectoryError {
  return new DataDirectoryError(
    'DAMAGED',
    `${path} ${what}; restore it from a backup (nothing was changed)`,
    { cause },
  )
}

async function readIdentity(directory: DataDirectory, controllerId: string): Promise<KeyObject> {
  const pem = await directory.read(directory.identityKey)
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    throw damaged(directory.identityKey, 'is damaged', error)
  }
  if (key.asymmetricKeyType !== 'ed25519' || controllerIdOf(rawPublicKey(key)) !== controllerId) {
    throw damaged(directory.identityKey, `is not the key of controller ${controllerId}`)
  }
  return key
}

async function openStore(directory: string, until: number): Promise<LevelStore> {
  for (;;) {
    try {
      return await LevelStore.open(directory, { create: false })
    } catch (error) {
      const locked = error instanceof StateError && error.code === 'STORE_LOCKED'
      if (!locked || steadyNow() >= until) throw error
      await new Promise(resolve => setTimeout(resolve, LOCK_RETRY_MS))
    }
  }
}
