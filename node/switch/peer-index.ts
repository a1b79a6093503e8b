// From the 24-bit peer id in a data packet to the port it belongs to.

const PAGE_BITS = 12
const PAGE_SIZE = 1 << PAGE_BITS
const PAGES = 1 << (24 - PAGE_BITS)

/** Largest peer id a port may have; the one above means "none" on the wire. */
export const MAX_PEER_ID = 0xfffffe

/** Numbers by peer id, in pages that are made when first needed (16 KB each) and then stay. 0 is no entry. */
export class PeerIndex {
  readonly #pages: (Int32Array | undefined)[] = new Array(PAGES).fill(undefined)

  /** The entry of a 24-bit id. */
  get(peerId: number): number {
    const page = this.#pages[peerId >>> PAGE_BITS]
    return page === undefined ? 0 : page[peerId & (PAGE_SIZE - 1)]
  }

  set(peerId: number, value: number): void {
    const number = peerId >>> PAGE_BITS
    this.#pages[number] ??= new Int32Array(PAGE_SIZE)
    this.#pages[number][peerId & (PAGE_SIZE - 1)] = value
  }
}
