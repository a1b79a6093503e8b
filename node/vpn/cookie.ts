// The stateless cookie: the server's session id is a keyed hash over who asked and when, so that an address that has
// not shown that it receives our answers costs no memory. Source: OpenVPN src/openvpn/ssl_pkt.c (the format is private).
import { timingSafeEqual } from 'node:crypto'
import { type ControlBody, OPCODE, SID_LENGTH } from './packet.ts'
import { type MakeWrapKeys, type WrapKeys, wrapKeys } from './wrap-keys.ts'

/** Slots before the current one that are still accepted. */
const OLD_SLOTS = 2

export class SessionCookie {
  readonly #keys: Pick<WrapKeys, 'tag'>
  readonly #slotMs: number

  /**
   * @param secret 32 random bytes of this process
   * @param handWindowSeconds time a handshake may take; a cookie lives for one to one and a half times as long
   */
  constructor(secret: Uint8Array, handWindowSeconds: number, make: MakeWrapKeys = wrapKeys) {
    // Nothing is encrypted with it: only what makes tags is used.
    this.#keys = make(secret, secret)
    this.#slotMs = (handWindowSeconds * 1000) / 2
  }

  /** @param now ms @param remote whom it is for, such as address and port */
  make(now: number, remote: string, clientSid: Uint8Array): Uint8Array {
    return this.#hash(Math.floor(now / this.#slotMs), remote, clientSid)
  }

  check(now: number, remote: string, clientSid: Uint8Array, serverSid: Uint8Array): boolean {
    if (serverSid.length !== SID_LENGTH) return false
    const slot = Math.floor(now / this.#slotMs)
    for (let age = 0; age <= OLD_SLOTS; age++) {
      if (timingSafeEqual(this.#hash(slot - age, remote, clientSid), serverSid)) return true
    }
    return false
  }

  #hash(slot: number, remote: string, clientSid: Uint8Array): Uint8Array {
    const sid = this.#keys.tag(Buffer.from(`${slot}|${remote}|`), clientSid).subarray(0, SID_LENGTH)
    // A session id is never zero.
    sid[0] |= 1
    return sid
  }
}

/** Highest id a client's first answer can carry or acknowledge: the reset is 0, its ClientHello 1. */
const LAST_EARLY_ID = 1

/**
 * Whether a packet can be the one that follows our stateless answer, and so may bring a cookie: of key id 0, with
 * acknowledgements (they carry the cookie), and so early that nothing before it is missing. Check the cookie next.
 */
export function mayOpenSession(opcode: number, keyId: number, body: ControlBody): boolean {
  return (
    keyId === 0 &&
    (opcode === OPCODE.controlV1 || opcode === OPCODE.ackV1 || opcode === OPCODE.controlWkcV1) &&
    body.acks.length > 0 &&
    body.acks.every(id => id <= LAST_EARLY_ID) &&
    (body.messageId === undefined || body.messageId <= LAST_EARLY_ID)
  )
}
