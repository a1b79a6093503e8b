// ESP packets that came before the security association that they belong to, until it is there. Pure.

/** Octets that wait at most: what comes beyond is lost, as all of it was without this. */
export const MAX_WAITING = 4 << 20
/** Octets that a packet takes beside its own, so that small ones are bounded too. */
const OVERHEAD = 256
/** SPI and sequence number (RFC 4303 section 2). */
const HEADER = 8

export class WaitingEsp {
  readonly #packets = new Map<string, Uint8Array[]>()
  /** By SPI, the own address that its association ends at. */
  readonly #ends = new Map<string, string>()
  #octets = 0

  /**
   * @param packet as it came in UDP (RFC 3948)
   * @returns where it goes on to at once: undefined when it waits, or is none
   */
  came(packet: Uint8Array): string | undefined {
    const spi = spiOf(packet)
    if (spi === undefined) return undefined
    const end = this.#ends.get(spi)
    if (end !== undefined) return end
    const cost = packet.length + OVERHEAD
    if (this.#octets + cost > MAX_WAITING) return undefined
    this.#octets += cost
    const before = this.#packets.get(spi)
    if (before) before.push(packet)
    else this.#packets.set(spi, [packet])
    return undefined
  }

  /** Its association is there, and ends at this address. @returns what waited for it, in order */
  installed(spi: string, end: string): Uint8Array[] {
    this.#ends.set(spi, end)
    const packets = this.#packets.get(spi) ?? []
    this.#packets.delete(spi)
    for (const { length } of packets) this.#octets -= length + OVERHEAD
    return packets
  }

  clear(): void {
    this.#packets.clear()
    this.#ends.clear()
    this.#octets = 0
  }
}

/** 8 hex digits; undefined for what is no ESP: IKE has zeros there (RFC 3948 section 2.2). */
function spiOf(packet: Uint8Array): string | undefined {
  if (packet.length <= HEADER) return undefined
  const spi = Buffer.from(packet.buffer, packet.byteOffset, 4).toString('hex')
  return spi === '00000000' ? undefined : spi
}
