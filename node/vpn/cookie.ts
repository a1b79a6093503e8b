// The stateless cookie: the server's session id is a keyed hash over who asked and when, so that an address that has
// not shown that it receives our answers costs no memory. Source: OpenVPN src/openvpn/ssl_pkt.c (the format is private).
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { SID_LENGTH } from './packet.ts'

/** Slots before the current one that are still accepted. */
const OLD_SLOTS = 2

export class SessionCookie {
  readonly #secret: KeyObject
  readonly #slotMs: number

  /** @param secret random, of this process @param handWindowSeconds a cookie lives between one and one and a half of it */
  constructor(secret: Uint8Array, handWindowSeconds: number) {
    this.#secret = createSecretKey(secret)
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
    const hash = createHmac('sha256', this.#secret).update(`${slot}|${remote}|`).update(clientSid).digest()
    const sid = hash.subarray(0, SID_LENGTH)
    // A session id is never zero.
    sid[0] |= 1
    return sid
  }
}
