// How much one data-channel key may carry, and what opening a packet may come to; common to both packet formats.

/** From here on a key is to be replaced (OpenVPN's PACKET_ID_WRAP_TRIGGER). */
export const REKEY_PACKET_ID = 0xff000000
/** The last id that may ever be sent. */
export const LAST_PACKET_ID = 0xffffffff
/** Blocks of 16 bytes and packets, together, that one AES-GCM key may protect (OpenVPN 2.7's limit). */
export const GCM_LIMIT = 2 ** 36 - 1
/** Where in it the key's replacement is asked for. */
export const REKEY_AT_USE = GCM_LIMIT * (7 / 8)
/** Forgeries after which a key decrypts nothing any more. */
export const FORGERY_LIMIT = 2 ** 36

/** Why opening gave no plaintext. */
export const OPEN = { badLength: -1, replayed: -2, badTag: -3 } as const
