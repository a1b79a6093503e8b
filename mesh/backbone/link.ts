// One backbone link: agrees on keys with its other end, keeps them fresh, and looks for a path while nothing comes through.
import type { ControllerId } from '../../state/kinds.ts'
import { agree, type Ephemeral, newEphemeral } from './agreement.ts'
import { decodeLinkMessage, encodeLinkMessage, type LinkMessage } from './link-message.ts'
import { type LinkKeys, type LinkPath, type LinkPlane, samePath } from './link-plane.ts'

export interface LinkInit {
  readonly id: ControllerId
  readonly peer: ControllerId
  /** This end's name for the link. */
  readonly port: number
  readonly mtu: number
  readonly plane: LinkPlane
  /** Where this controller may be reached, `host:port`, UDP. */
  readonly endpoints: () => readonly string[]
  /** From 0 to below 1. */
  readonly random: () => number
  readonly send: (payload: Uint8Array) => boolean
  /** How long one key is sent with, ms. @default KEY_LIFE */
  readonly keyLife?: number
  /** The peer says where it may be reached. */
  readonly told: (endpoints: readonly string[]) => void
}

/** How long one key is sent with, ms, unless told otherwise, and how long the one before is still taken. */
export const KEY_LIFE = 3_600_000
const OLD_KEY_LIFE = 30_000
/** ms to wait for an answer before offering anew. */
const ANSWER_TIME = 5000
/** ms between two tries of another path while the link is down. */
const PATH_TURN = 1000
const KEY_IDS = 8
/** Where a link leads whose peer nobody can name an address of: nowhere, until the peer is heard (RFC 863). */
const NOWHERE: LinkPath = { socket: 0, remote: '127.0.0.1', port: 9, local: '', ifindex: 0 }

interface Exchange {
  readonly generation: number
  readonly keyId: number
  readonly own: Ephemeral
  readonly since: number
}

export class BackboneLink {
  up = false
  readonly #init: LinkInit
  /** Of two ends the one with the lower id offers. */
  readonly #offers: boolean
  #connected = false
  /** The other end's name for the link; 0 before it was told. */
  #remotePort = 0
  #exchange: Exchange | undefined
  /** The answerer's: the key that waits for `confirm`. */
  #answered: { generation: number; keyId: number } | undefined
  #generation = 0
  #keyId = -1
  /** The key that is sent with, and those on their way out. */
  #current: number | undefined
  readonly #old: { keyId: number; until: number }[] = []
  #rekeyAt = Number.POSITIVE_INFINITY
  #candidates: readonly LinkPath[] = []
  #path: LinkPath | undefined
  /** Where an authentic packet last came from. */
  #heardFrom: LinkPath | undefined
  #nextPathAt = 0

  constructor(init: LinkInit) {
    this.#init = init
    this.#offers = init.id < init.peer
  }

  get port(): number {
    return this.#init.port
  }

  get peer(): ControllerId {
    return this.#init.peer
  }

  get path(): LinkPath | undefined {
    return this.#path
  }

  /** Whether there is a link in the data plane. */
  get isOpen(): boolean {
    return this.#remotePort !== 0
  }

  connected(now: number): void {
    this.#connected = true
    this.#exchange = undefined
    // The peer may have started anew and know none of the old keys.
    if (this.#offers) this.#offer(now)
  }

  disconnected(): void {
    this.#connected = false
    this.#exchange = undefined
    // The peer may not have heard that it is to use the latest key: what it sends with is taken until the next exchange.
    for (const old of this.#old) old.until = Number.POSITIVE_INFINITY
  }

  /** Fresh keys, as soon as may be. */
  rekey(now: number): void {
    if (!this.#connected) return
    if (!this.#offers) this.#sayOrRenew({ type: 'request' }, now)
    else if (this.#exchange === undefined) this.#offer(now)
  }

  floated(path: LinkPath): void {
    this.#path = path
    this.#heardFrom = path
  }

  setCandidates(candidates: readonly LinkPath[]): void {
    this.#candidates = candidates
    if (this.isOpen && this.#path && samePath(this.#path, NOWHERE)) this.#tryNext()
  }

  close(): void {
    if (this.isOpen) this.#init.plane.closeLink(this.port)
    this.#remotePort = 0
    this.up = false
  }

  receive(payload: Uint8Array, now: number): boolean {
    const message = decodeLinkMessage(payload)
    if (message === undefined) return false
    switch (message.type) {
      case 'offer':
        if (this.#offers) return false
        this.#answer(message, now)
        return true
      case 'answer':
        return this.#accept(message, now)
      case 'confirm':
        if (this.#answered?.generation !== message.generation) return true
        this.#use(this.#answered.keyId, now)
        this.#answered = undefined
        return true
      case 'request':
        if (!this.#offers) return false
        if (this.#exchange === undefined) this.#offer(now)
        return true
    }
  }

  /** Runs timers; when to call again. */
  poll(now: number): number {
    const { plane } = this.#init
    while (this.#old.length > 0 && this.#old[0].until <= now)
      plane.dropKey(this.port, this.#old.shift()!.keyId)
    if (this.#exchange && now >= this.#exchange.since + ANSWER_TIME) {
      this.#exchange = undefined
      if (this.#connected) this.#offer(now)
    }
    if (now >= this.#rekeyAt && this.#connected) {
      this.#rekeyAt = now + ANSWER_TIME
      this.rekey(now)
    }
    const isLooking = this.isOpen && !this.up
    if (isLooking && now >= this.#nextPathAt) {
      this.#nextPathAt = now + PATH_TURN
      this.#tryNext()
    }
    return Math.min(
      this.#old[0]?.until ?? Number.POSITIVE_INFINITY,
      this.#exchange ? this.#exchange.since + ANSWER_TIME : Number.POSITIVE_INFINITY,
      this.#connected ? this.#rekeyAt : Number.POSITIVE_INFINITY,
      isLooking ? this.#nextPathAt : Number.POSITIVE_INFINITY,
    )
  }

  #offer(now: number): void {
    this.#generation = Math.max(Math.floor(now), this.#generation + 1)
    const exchange = {
      generation: this.#generation,
      keyId: this.#freeKeyId(),
      own: newEphemeral(),
      since: now,
    }
    const { generation, keyId, own } = exchange
    const words = { generation, keyId, publicKey: own.publicKey, ...this.#place() }
    if (this.#sayOrRenew({ type: 'offer', ...words }, now)) this.#exchange = exchange
  }

  #answer(offer: LinkMessage & { type: 'offer' }, now: number): void {
    const { id, peer, plane } = this.#init
    const { generation, keyId } = offer
    const own = newEphemeral()
    const keys = agree({
      own,
      theirs: offer.publicKey,
      offerer: { id: peer, publicKey: offer.publicKey },
      answerer: { id, publicKey: own.publicKey },
      generation,
      role: 'answerer',
    })
    if (keys === undefined) return
    this.#open(offer.port, offer.endpoints, now)
    // The offerer may be sending with the key that it never confirmed, until it has the next.
    if (this.#answered) this.#old.push({ keyId: this.#answered.keyId, until: Number.POSITIVE_INFINITY })
    this.#makeRoom(keyId)
    plane.setKey(this.port, keyId, keys)
    wipe(keys)
    this.#answered = { generation, keyId }
    this.#say({ type: 'answer', generation, keyId, publicKey: own.publicKey, ...this.#place() })
  }

  #accept(answer: LinkMessage & { type: 'answer' }, now: number): boolean {
    const { id, peer, plane } = this.#init
    const exchange = this.#exchange
    if (exchange?.generation !== answer.generation || exchange.keyId !== answer.keyId) return true
    this.#exchange = undefined
    const { generation, keyId, own } = exchange
    const keys = agree({
      own,
      theirs: answer.publicKey,
      offerer: { id, publicKey: own.publicKey },
      answerer: { id: peer, publicKey: answer.publicKey },
      generation,
      role: 'offerer',
    })
    if (keys === undefined) return false
    this.#open(answer.port, answer.endpoints, now)
    this.#makeRoom(keyId)
    plane.setKey(this.port, keyId, keys)
    wipe(keys)
    this.#use(keyId, now)
    this.#sayOrRenew({ type: 'confirm', generation }, now)
    return true
  }

  /** Opens the link, or opens it anew for a peer that has started anew. */
  #open(remotePort: number, endpoints: readonly string[], now: number): void {
    const { plane, mtu, told } = this.#init
    told(endpoints)
    if (this.#remotePort === remotePort) return
    if (this.isOpen) plane.closeLink(this.port)
    this.up = false
    this.#remotePort = remotePort
    this.#old.length = 0
    this.#answered = undefined
    this.#current = undefined
    this.#path ??= this.#candidates[0] ?? NOWHERE
    this.#nextPathAt = now + PATH_TURN
    plane.openLink({ peerId: this.port, remotePeerId: remotePort, path: this.#path, mtu })
  }

  #use(keyId: number, now: number): void {
    if (this.#current === keyId) return
    this.#init.plane.useKey(this.port, keyId)
    const until = now + OLD_KEY_LIFE
    for (const old of this.#old) old.until = Math.min(old.until, until)
    if (this.#current !== undefined) this.#old.push({ keyId: this.#current, until })
    this.#current = keyId
    this.#rekeyAt = now + (this.#init.keyLife ?? KEY_LIFE) * (0.9 + this.#init.random() / 10)
  }

  /** Whoever offers names a key that neither end uses. */
  #freeKeyId(): number {
    do this.#keyId = (this.#keyId + 1) % KEY_IDS
    while (this.#keyId === this.#current)
    return this.#keyId
  }

  /** A key of this id that is on its way out goes at once. */
  #makeRoom(keyId: number): void {
    const at = this.#old.findIndex(each => each.keyId === keyId)
    if (at >= 0) this.#init.plane.dropKey(this.port, this.#old.splice(at, 1)[0].keyId)
  }

  #tryNext(): void {
    const all = [...this.#candidates]
    const heard = this.#heardFrom
    if (heard && !all.some(each => samePath(each, heard))) all.push(heard)
    if (all.length === 0) return
    const current = this.#path
    const at = current ? all.findIndex(each => samePath(each, current)) : -1
    const next = all[(at + 1) % all.length]
    if (current && samePath(current, next)) return
    this.#path = next
    this.#init.plane.moveLink(this.port, next)
  }

  #place(): { port: number; endpoints: string[] } {
    return { port: this.port, endpoints: [...this.#init.endpoints()] }
  }

  /** What the channel has no room for now is made good by another exchange. */
  #sayOrRenew(message: LinkMessage, now: number): boolean {
    const isSaid = this.#say(message)
    if (!isSaid) this.#rekeyAt = Math.min(this.#rekeyAt, now + ANSWER_TIME)
    return isSaid
  }

  #say(message: LinkMessage): boolean {
    return this.#init.send(encodeLinkMessage(message))
  }
}

/** The plane has its own copy. */
function wipe({ send, receive }: LinkKeys): void {
  for (const bytes of [send.cipher, send.hmac, receive.cipher, receive.hmac]) bytes.fill(0)
}
