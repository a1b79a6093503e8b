// The door of the mesh: checks who was invited, and gives a newcomer what makes it a controller.
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  JOIN_VERSION,
  type JoinMessage,
  type JoinRequest,
} from '../mesh/admission/messages.ts'
import { isInvited, possesses } from '../mesh/admission/proof.ts'
import type { FrameStream } from '../mesh/libp2p/frame-stream.ts'
import type { JoinHandler } from '../mesh/libp2p/transport.ts'
import { type ControllerId, controllerIdOf } from '../state/kinds.ts'
import { rawPublicKey } from '../state/record.ts'
import type { Home } from './home.ts'
import type { Invites } from './invites.ts'
import { issueIssuingCa } from './pki/authority.ts'
import { parsePrivateKey } from './pki/keys.ts'

export interface AdmissionInit {
  home: Home
  invites: Invites
  /** ms since 1970 */
  now: () => number
  joined: (id: ControllerId, name: string) => void
  refused: (id: ControllerId, reason: string) => void
}

/** Clocks that differ by more, ms, would make certificates and records that others do not believe. */
const MAX_SKEW_MS = 60_000
/** Bytes of records in one message. */
const DELTA_BYTES = 2 ** 20
/** Attempts that failed, in so many ms, after which nobody is listened to for a while. */
const MAX_FAILURES = 20
const FAILURES_MS = 60_000

const USED = 'the token was used already, and is good once; ask for a new one'

/** Why a newcomer is turned away, as it is told. */
class Refusal extends Error {
  override name = 'Refusal'
}

export class Admission implements JoinHandler {
  readonly #init: AdmissionInit
  #failures = 0
  #failuresSince = 0

  constructor(init: AdmissionInit) {
    this.#init = init
  }

  open(): boolean {
    const { home, invites, now } = this.#init
    return invites.any(now()) && home.views.isAdmitted(home.id) && !this.#isBusyRefusing()
  }

  async serve(stream: FrameStream, publicKey: Uint8Array): Promise<void> {
    const id = controllerIdOf(publicKey)
    try {
      const request = await expect(stream, 'join')
      const issuingKey = this.#check(request, publicKey)
      await this.#admit(stream, request, id, issuingKey)
      await this.#give(stream, id)
      this.#init.joined(id, request.name)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.#count()
      this.#init.refused(id, error.message)
      say(stream, { type: 'refused', reason: error.message })
    }
  }

  /** The public half of the newcomer's issuing key. @throws Refusal */
  #check(request: JoinRequest, joiner: Uint8Array): KeyObject {
    const { home, invites, now } = this.#init
    if (request.version !== JOIN_VERSION) {
      throw new Refusal('the two run versions of Overmesh that do not join each other; upgrade the older one')
    }
    const inviter = rawPublicKey(home.identityKey)
    const invite = invites.get(Buffer.from(request.inviteId).toString('hex'))
    // Of the second it is not said that the first was right.
    if (invite === undefined || !isInvited(invite.key, request.proof, joiner, inviter)) {
      throw new Refusal('the token is not good here; ask for a new one')
    }
    if (invite.used) throw new Refusal(USED)
    if (now() >= invite.expiresAt) {
      const at = new Date(invite.expiresAt).toISOString()
      throw new Refusal(`the token expired at ${at}; ask for a new one`)
    }
    const skew = request.now - now()
    if (Math.abs(skew) > MAX_SKEW_MS) {
      const [theirs, ours] = [request.now, now()].map(ms => new Date(ms).toISOString())
      throw new Refusal(`the clocks differ: ${theirs} there, ${ours} here; set them (NTP) and try again`)
    }
    this.#checkName(request.name)
    const known = home.replica.get('controller', controllerIdOf(joiner))
    if (known) throw new Refusal('a controller with this key was here before; join with a new data directory')
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
  }

  /** Uses the invitation up, then hands over certificate, keys and records. */
  async #admit(
    stream: FrameStream,
    request: JoinRequest,
    id: ControllerId,
    publicKey: KeyObject,
  ): Promise<void> {
    const { home, invites, now } = this.#init
    const { directory, config, mesh, rootCertificate, replica } = home
    const rootKey = await directory.readIfThere(directory.rootKey)
    if (rootKey === undefined) {
      throw new Refusal(
        'the key of the mesh root is not on that controller any more; bring it back, or invite elsewhere',
      )
    }
    if (!(await invites.take(Buffer.from(request.inviteId).toString('hex')))) {
      throw new Refusal(USED)
    }
    const { pem } = issueIssuingCa(
      { certificate: new X509Certificate(rootCertificate), privateKey: parsePrivateKey(rootKey) },
      {
        controllerId: id,
        controllerName: request.name,
        publicKey,
        now: now(),
        lifetime: config.lifetimes.issuing,
      },
    )
    say(stream, {
      type: 'admitted',
      meshId: mesh.id,
      rootCertificate,
      issuingCertificate: pem,
      tlsCryptKey: await directory.read(directory.tlsCryptKey),
      lifetimes: config.lifetimes,
    })
    for (;;) {
      const { vector } = await expect(stream, 'vector')
      const delta = replica.missingFor(vector, DELTA_BYTES)!
      say(stream, { type: 'delta', records: [...delta.records], known: delta.known, more: delta.more })
      if (!delta.more) return
    }
  }

  /** Takes the newcomer's own records: from then on it is admitted. */
  async #give(stream: FrameStream, id: ControllerId): Promise<void> {
    const { home } = this.#init
    const { records } = await expect(stream, 'own')
    for (const outcome of await home.replica.receive(records)) {
      if (outcome.outcome === 'refused') throw new Refusal(`its records are not good: ${outcome.reason}`)
    }
    if (!home.views.isAdmitted(id)) throw new Refusal('its records do not make it a controller')
    say(stream, { type: 'welcome' })
    await stream.drained()
  }

  #count(): void {
    const now = this.#init.now()
    if (now - this.#failuresSince > FAILURES_MS) {
      this.#failures = 0
      this.#failuresSince = now
    }
    this.#failures++
  }

  #isBusyRefusing(): boolean {
    return this.#failures >= MAX_FAILURES && this.#init.now() - this.#failuresSince <= FAILURES_MS
  }
}

function say(stream: FrameStream, message: JoinMessage): void {
  if (!stream.send(encodeJoinMessage(message))) throw new Error('the connection ended')
}

async function expect<T extends JoinMessage['type']>(
  stream: FrameStream,
  type: T,
): Promise<JoinMessage & { type: T }> {
  const frame = await stream.receive()
  if (frame === undefined) throw new Error('the connection ended')
  const message = decodeJoinMessage(frame)
  if (message?.type !== type) throw new Refusal('it does not speak as a newcomer does')
  return message as JoinMessage & { type: T }
}

function readKey(der: Uint8Array): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' })
    const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
    return isP256 ? key : undefined
  } catch {
    return undefined
  }
}
