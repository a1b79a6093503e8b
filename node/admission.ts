// The door of the mesh: checks who was invited, and gives a newcomer what makes it a controller.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  type JoinMessage,
  type JoinRequest,
  MAX_NEWCOMER_FRAME_BYTES,
  MAX_REQUEST_BYTES,
  type SpokenMessage,
} from '../mesh/admission/messages.ts'
import { isInvited, possesses } from '../mesh/admission/proof.ts'
import type { FrameStream } from '../mesh/libp2p/frame-stream.ts'
import type { JoinHandler } from '../mesh/libp2p/transport.ts'
import { formatRange, highestCommon, isOlder, JOINING } from '../mesh/versions.ts'
import packageJson from '../package.json' with { type: 'json' }
import { type ControllerId, controllerIdOf } from '../state/kinds.ts'
import type { Delta } from '../state/offer.ts'
import { decodeRecord, rawPublicKey } from '../state/record.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'
import { Line } from './line.ts'
import { issueIssuingCa } from './pki/authority.ts'
import { PkiError } from './pki/errors.ts'
import { checkKeyOf, parsePrivateKey } from './pki/keys.ts'

export interface AdmissionInit {
  home: Home
  invites: Invites
  /** ms since 1970 */
  now: () => number
  joined: (id: ControllerId, name: string) => void
  /** Somebody was turned away, or broke off once it had the invitation. */
  refused: (id: ControllerId, reason: string) => void
}

/** Clocks that differ by more, ms, would make certificates and records that others do not believe. */
const MAX_SKEW_MS = 60_000
/** ms for whoever knocks to say what it wants, and for who was let in to say the next thing. */
const REQUEST_MS = 10_000
const SILENCE_MS = 60_000
/**
 * ms for a newcomer that has all records to choose its address before another may: all that can be served at once wait less than
 * a newcomer does for an answer.
 */
const CHOOSING_MS = 3000
/** Bytes of records in one message. */
const DELTA_BYTES = 2 ** 20

const USED = 'the token was used already, and is good once; ask for a new one'

/** Why a newcomer is turned away, as it is told. */
class Refusal extends Error {
  override name = 'Refusal'
}

/** The address that a newcomer chose was leased to another since it had all records. */
class AddressTaken extends Refusal {
  override name = 'AddressTaken'
}

/** The newcomer went away. */
class Gone extends Error {
  override name = 'Gone'
}

/** What a newcomer is given that makes it a controller. */
type Grant = JoinMessage & { type: 'admitted' }

export class Admission implements JoinHandler {
  readonly #init: AdmissionInit
  /** Names of those that are joining now. */
  readonly #names = new Set<string>()
  /** Those that choose their address, each in the knowledge of what the one before it chose. */
  readonly #choosing = new Line(CHOOSING_MS)

  constructor(init: AdmissionInit) {
    this.#init = init
  }

  /** Nobody is kept out for what others did: a secret cannot be guessed, and turning away costs next to nothing. */
  open(): boolean {
    const { home, invites, now } = this.#init
    return invites.any(now()) && home.views.isAdmitted(home.id)
  }

  async serve(stream: FrameStream, publicKey: Uint8Array): Promise<void> {
    const id = controllerIdOf(publicKey)
    let request: JoinRequest | undefined
    try {
      request = await hearRequest(stream)
      const issuingKey = this.#check(request, publicKey)
      this.#names.add(request.name)
      try {
        await this.#admit(stream, request, id, issuingKey)
      } finally {
        this.#names.delete(request.name)
      }
      this.#init.joined(id, request.name)
    } catch (error) {
      // Somebody who came and went without a word is none of the operator's business.
      if (error instanceof Gone && request === undefined) return
      this.#turnAway(stream, id, error)
    }
  }

  #turnAway(stream: FrameStream, id: ControllerId, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    this.#init.refused(id, message)
    const reason =
      error instanceof Refusal ? message : 'something failed on the controller that invited; see its log'
    stream.send(encodeJoinMessage({ type: 'refused', reason }))
  }

  /** The public half of the newcomer's issuing key. @throws Refusal */
  #check(request: JoinRequest, joiner: Uint8Array): KeyObject {
    const { home, invites, now } = this.#init
    const inviter = rawPublicKey(home.identityKey)
    const invite = invites.get(idOf(request))
    // Of the second it is not said that the first was right.
    if (invite === undefined || !isInvited(invite.key, request.proof, joiner, inviter)) {
      throw new Refusal('the token is not good here; ask for a new one')
    }
    if (invite.used) throw new Refusal(USED)
    if (now() >= invite.expiresAt) {
      const at = new Date(invite.expiresAt).toISOString()
      throw new Refusal(`the token expired at ${at}; ask for a new one`)
    }
    if (Math.abs(request.now - now()) > MAX_SKEW_MS) {
      const [theirs, ours] = [request.now, now()].map(ms => new Date(ms).toISOString())
      throw new Refusal(`the clocks differ: ${theirs} there, ${ours} here; set them (NTP) and try again`)
    }
    if (!home.views.isAdmitted(home.id)) {
      throw new Refusal(
        'the controller that invited is not part of the mesh any more; ask for a token of another',
      )
    }
    this.#checkName(request.name)
    if (home.replica.get('controller', controllerIdOf(joiner))) {
      throw new Refusal('a controller with this key was here before; join with a new data directory')
    }
    const key = readKey(request.publicKey)
    if (key === undefined || !possesses(key, request.possession, joiner, inviter)) {
      throw new Refusal('the issuing key is not one, or not its own')
    }
    return key
  }

  #checkName(name: string): void {
    if (this.#init.home.views.controllers().some(({ value }) => value.name === name)) {
      throw new Refusal(`a controller named ${name} is in the mesh already; give another with --controller`)
    }
    if (this.#names.has(name)) {
      throw new Refusal(`another machine is joining as ${name}; give another name with --controller`)
    }
  }

  /** Uses the invitation up, hands over certificate, keys and records, and takes the newcomer's own. */
  async #admit(
    stream: FrameStream,
    request: JoinRequest,
    id: ControllerId,
    publicKey: KeyObject,
  ): Promise<void> {
    const grant = await this.#grant(request, id, publicKey)
    // On disk before the certificate leaves. What failed until here costs no invitation.
    if (!(await this.#init.invites.take(idOf(request)))) throw new Refusal(USED)
    try {
      await say(stream, grant)
      await this.#exchange(stream, request, id)
    } catch (error) {
      if (!(error instanceof Gone)) throw error
      throw new Gone(`the join of ${request.name} broke off; the token is used up, invite it anew`)
    }
  }

  /** @throws Refusal when this controller cannot admit anyone */
  async #grant(request: JoinRequest, id: ControllerId, publicKey: KeyObject): Promise<Grant> {
    const { directory, config, mesh, rootCertificate } = this.#init.home
    const rootKey = await directory.readIfThere(directory.rootKey)
    if (rootKey === undefined) {
      throw new Refusal(
        'the key of the mesh root is not on that controller any more; bring it back, or invite elsewhere',
      )
    }
    try {
      const certificate = new X509Certificate(rootCertificate)
      const privateKey = parsePrivateKey(rootKey)
      checkKeyOf(certificate, privateKey, 'the mesh root')
      const issued = issueIssuingCa(
        { certificate, privateKey },
        {
          controllerId: id,
          controllerName: request.name,
          publicKey,
          now: this.#init.now(),
          lifetime: config.lifetimes.issuing,
        },
      )
      return {
        type: 'admitted',
        version: highestCommon({ lowest: request.version, highest: request.highest }, JOINING)!,
        meshId: mesh.id,
        rootCertificate,
        issuingCertificate: issued.pem,
        tlsCryptKey: await directory.read(directory.tlsCryptKey),
        lifetimes: config.lifetimes,
      }
    } catch (error) {
      if (error instanceof PkiError)
        throw new Refusal(`that controller cannot admit anyone: ${error.message}`)
      throw error
    }
  }

  /** Sends what the newcomer lacks, as often as it asks, until it has told of itself: from then on it is admitted. */
  async #exchange(stream: FrameStream, { name }: JoinRequest, id: ControllerId): Promise<void> {
    const { replica } = this.#init.home
    let leave: (() => void) | undefined
    try {
      for (;;) {
        const message = await hear(stream, ['vector', 'own'])
        if (message.type === 'own') {
          if (await this.#take(message, name, id)) break
          leave?.()
          await say(stream, { type: 'taken' })
          continue
        }
        let delta = replica.missingFor(message.vector, DELTA_BYTES, true)!
        leave?.()
        if (isLast(delta)) {
          leave = await this.#choosing.enter()
          // Others may have chosen meanwhile.
          delta = replica.missingFor(message.vector, DELTA_BYTES, true)!
          if (!isLast(delta)) leave()
        }
        const { records, known, more } = delta
        await say(stream, { type: 'delta', records: [...records], known, more })
      }
    } finally {
      leave?.()
    }
    await say(stream, { type: 'welcome' })
  }

  /** Takes the newcomer's own records; false when it is to choose another address. @throws Refusal */
  async #take(
    { records, again }: JoinMessage & { type: 'own' },
    name: string,
    id: ControllerId,
  ): Promise<boolean> {
    const { replica, views } = this.#init.home
    if (!records.every(bytes => isOwn(bytes, id, name))) {
      throw new Refusal('its records are of something else than itself')
    }
    try {
      const outcomes = await replica.receive(records, () => this.#checkLeases(records, id))
      for (const outcome of outcomes) {
        if (outcome.outcome === 'refused') throw new Refusal(`its records are not good: ${outcome.reason}`)
      }
    } catch (error) {
      if (error instanceof AddressTaken && again === true) return false
      throw error
    }
    if (!views.isAdmitted(id)) throw new Refusal('its records do not make it a controller')
    return true
  }

  /** By its stamp a newcomer's lease may come before the one that is here, whose holder was told that it has the address. */
  #checkLeases(records: readonly Uint8Array[], id: ControllerId): void {
    const { replica } = this.#init.home
    for (const bytes of records) {
      const decoded = decodeRecord(bytes)
      if (!decoded.ok || decoded.record.kind !== 'lease') continue
      const address = decoded.record.id
      if (!replica.has('lease', address) || replica.get('lease', address)?.holder === id) continue
      throw new AddressTaken(`${address} was given to another while it joined; join with a new token`)
    }
  }
}

const idOf = ({ inviteId }: JoinRequest): string => Buffer.from(inviteId).toString('hex')

/** What a newcomer may write before it is one of the mesh: who it is, and its address. */
function isOwn(bytes: Uint8Array, id: ControllerId, name: string): boolean {
  const decoded = decodeRecord(bytes)
  if (!decoded.ok || decoded.record.author !== id) return false
  const { record } = decoded
  if (record.kind === 'lease') return record.value?.holder === id
  if (record.kind !== 'controller' || record.id !== id) return false
  return record.value?.name === name && record.value.removedAt === undefined
}

/** The next frame; whoever lets it wait for so many ms has gone. @throws Gone */
async function receive(stream: FrameStream, ms: number): Promise<Uint8Array> {
  const timer = setTimeout(() => stream.abort('it says nothing'), ms)
  try {
    const frame = await stream.receive()
    if (frame === undefined) throw new Gone('the connection ended')
    return frame
  } finally {
    clearTimeout(timer)
  }
}

async function hearRequest(stream: FrameStream): Promise<JoinRequest> {
  const message = decodeJoinMessage(await receive(stream, REQUEST_MS), MAX_REQUEST_BYTES)
  if (message?.type === 'join') return message
  if (message?.type !== 'foreign') throw new Refusal(STRANGE)
  const { versions, software } = message
  const newcomer = `the newcomer${software === '' ? '' : ` (Overmesh ${software})`}`
  const older = isOlder(versions, JOINING) ? 'the newcomer' : 'the controller that invited'
  throw new Refusal(
    `${newcomer} joins by ${formatRange(versions)} of the protocol and the controller that invited ` +
      `(Overmesh ${packageJson.version}) by ${formatRange(JOINING)}; upgrade ${older}`,
  )
}

/** Resolves when there is room for more. */
async function say(stream: FrameStream, message: SpokenMessage): Promise<void> {
  if (!stream.send(encodeJoinMessage(message))) throw new Gone('the connection ended')
  await stream.drained()
}

async function hear<T extends JoinMessage['type']>(
  stream: FrameStream,
  types: readonly T[],
): Promise<JoinMessage & { type: T }> {
  const message = decodeJoinMessage(await receive(stream, SILENCE_MS), MAX_NEWCOMER_FRAME_BYTES)
  if (!types.includes(message?.type as T)) throw new Refusal(STRANGE)
  return message as JoinMessage & { type: T }
}

const STRANGE = 'it does not speak as a newcomer does'

function readKey(der: Uint8Array): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
    const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
    return isP256 ? key : undefined
  } catch {
    return undefined
  }
}

/** Whether a newcomer has all: what comes of lives that are not accounted for comes again and again. */
function isLast({ records, known, more }: Delta): boolean {
  return records.length === 0 || (!more && Object.keys(known).length === 0)
}
