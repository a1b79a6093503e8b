// What peers say to each other inside the tunnel instead of IP packets: OpenVPN's ping (ping.c) and OCC (occ.h).

export const PING = Uint8Array.from([
  0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb, 0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48,
])

export const OCC_MAGIC = Uint8Array.from([
  0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81, 0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c,
])

/** Follows OCC_MAGIC: the peer leaves. */
export const OCC_EXIT = 6

/** True when `bytes` has exactly `pattern` at `at`; the caller has checked that it is long enough. */
export function matches(bytes: Uint8Array, at: number, pattern: Uint8Array): boolean {
  for (let i = 0; i < pattern.length; i++) {
    if (bytes[at + i] !== pattern[i]) return false
  }
  return true
}
