// Longest prefix match of IPv6: as in table.ts all prefixes are flattened into disjoint ranges in one sorted array, which a
// binary search finds its way in. The overlay's own addresses are not in here: see overlay6.ts.
import { type Cidr6, cidr6Range } from '../../state/address6.ts'
import { flatten } from './ranges.ts'
import { MAX_ROUTES, NEXT_HOP } from './table.ts'

/** Port number, or one of {@link NEXT_HOP} but `none`. */
export interface TableRoute6 extends Cidr6 {
  readonly nextHop: number
}

// The encoded form: MAGIC, number of ranges; then their starts, four words each, and their next hops.
const MAGIC = 0x4f4d4636
const HEADER = 2
const WORDS = 4
const TOP_BIT = 0x80000000
const END = 1n << 128n

/**
 * Builds the table in its transferable form. Of two routes for one prefix the later counts.
 * @throws RangeError for a malformed route or more than {@link MAX_ROUTES}: routes are derived, never raw input
 */
export function encodeRoutes6(routes: readonly TableRoute6[]): Int32Array<ArrayBuffer> {
  if (routes.length > MAX_ROUTES) throw new RangeError(`${routes.length} routes are more than ${MAX_ROUTES}`)
  const prefixes = routes.map(route => {
    assertRoute(route)
    return { ...cidr6Range(route), nextHop: route.nextHop }
  })
  const { starts, nextHops } = flatten(prefixes, 0n, END, NEXT_HOP.none)
  const encoded = new Int32Array(HEADER + (WORDS + 1) * starts.length)
  encoded[0] = MAGIC
  encoded[1] = starts.length
  for (const [range, start] of starts.entries()) {
    for (let word = 0; word < WORDS; word++) {
      encoded[HEADER + WORDS * range + word] =
        Number((start >> BigInt(32 * (WORDS - 1 - word))) & 0xffffffffn) ^ TOP_BIT
    }
  }
  encoded.set(nextHops, HEADER + WORDS * starts.length)
  return encoded
}

/** An immutable table. A lookup allocates nothing and takes as many steps as the number of ranges has bits. */
export class ForwardingTable6 {
  /** First address of each range, ascending, with the words' top bits inverted so that signed order is address order. */
  readonly #starts: Int32Array
  readonly #nextHops: Int32Array

  private constructor(ranges: number, encoded: Int32Array) {
    this.#starts = encoded.subarray(HEADER, HEADER + WORDS * ranges)
    this.#nextHops = encoded.subarray(HEADER + WORDS * ranges)
  }

  static build(routes: readonly TableRoute6[]): ForwardingTable6 {
    return ForwardingTable6.fromEncoded(encodeRoutes6(routes))
  }

  /**
   * Takes over what {@link encodeRoutes6} made, without copying; it must not be changed afterwards.
   * @throws RangeError if it is anything else
   */
  static fromEncoded(encoded: Int32Array): ForwardingTable6 {
    const [magic, ranges] = encoded
    const valid = magic === MAGIC && ranges >= 1 && encoded.length === HEADER + (WORDS + 1) * ranges
    if (!valid) throw new RangeError('not an encoded forwarding table of IPv6')
    return new ForwardingTable6(ranges, encoded)
  }

  /** The next hop of the longest prefix that covers the address at `at`: a port number or one of {@link NEXT_HOP}. */
  lookup(view: DataView, at: number): number {
    const a = view.getInt32(at) ^ TOP_BIT
    const b = view.getInt32(at + 4) ^ TOP_BIT
    const c = view.getInt32(at + 8) ^ TOP_BIT
    const d = view.getInt32(at + 12) ^ TOP_BIT
    // The first range starts at the lowest address, so there is always one that starts at or below.
    let low = 0
    for (let span = this.#nextHops.length; span > 1; ) {
      const half = span >>> 1
      if (this.#startsBy(low + half, a, b, c, d)) low += half
      span -= half
    }
    return this.#nextHops[low]
  }

  /** Whether a range starts at or below an address. */
  #startsBy(range: number, a: number, b: number, c: number, d: number): boolean {
    const starts = this.#starts
    const at = WORDS * range
    if (starts[at] !== a) return starts[at] < a
    if (starts[at + 1] !== b) return starts[at + 1] < b
    if (starts[at + 2] !== c) return starts[at + 2] < c
    return starts[at + 3] <= d
  }
}

function assertRoute({ address, length, nextHop }: TableRoute6): void {
  const isWord = (word: number) => Number.isInteger(word) && word >= 0 && word <= 0xffffffff
  const valid =
    address.length === WORDS &&
    address.every(isWord) &&
    Number.isInteger(length) &&
    length >= 0 &&
    length <= 128 &&
    Number.isInteger(nextHop) &&
    nextHop >= NEXT_HOP.unreachable &&
    nextHop <= 0x7fffffff &&
    nextHop !== NEXT_HOP.none
  if (!valid) throw new RangeError(`not a route: ${address.join(':')}/${length} to ${nextHop}`)
}
