// The Internet checksum (RFC 1071) over long ranges, as fast as JavaScript adds: it is taken of every byte of TCP that
// passes the TUN. Nothing here allocates.

/**
 * The one's complement sum of a range's 16-bit words, folded to 16 bits and not complemented. A last odd byte counts as
 * if a zero followed.
 */
export function wordSum(view: DataView, offset: number, length: number): number {
  const end = offset + length
  const whole = end - 15
  // Doubles hold the sum of a packet's 32-bit words exactly; four of them do not wait for each other. The sum of words in
  // the machine's order is the sum with its bytes swapped (RFC 1071 section 2).
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let at = offset
  for (; at < whole; at += 16) {
    a += view.getUint32(at, true)
    b += view.getUint32(at + 4, true)
    c += view.getUint32(at + 8, true)
    d += view.getUint32(at + 12, true)
  }
  const sum = a + b + c + d
  const high = Math.floor(sum / 0x100000000)
  const low = sum - high * 0x100000000
  let rest = high + (low % 0x10000) + Math.floor(low / 0x10000)
  for (; at < end - 1; at += 2) rest += view.getUint16(at, true)
  if (at < end) rest += view.getUint8(at)
  const folded = fold(rest)
  return ((folded & 0xff) << 8) | (folded >>> 8)
}

/** Brings a sum of 16-bit words below 2^32 down to 16 bits, with end-around carry. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

/**
 * The checksum after one 16-bit word of what it covers has changed (RFC 1624, equation 3).
 * @param odd whether the word begins at an odd byte of what is covered: its halves then count the other way about
 */
export function updateChecksum(checksum: number, before: number, after: number, odd: boolean): number {
  const from = odd ? swap(before) : before
  const to = odd ? swap(after) : after
  return ~fold((~checksum & 0xffff) + (~from & 0xffff) + to) & 0xffff
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8)
}
