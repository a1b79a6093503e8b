// Questions for tests, and a view of names without records.
import { type Answer, type DecodedPacket, decode, encode, type RecordType } from 'dns-packet'
import type { NameView } from '../../../node/dns/zone.ts'
import { type OverlayAddress, parseCidr, parseIpv4 } from '../../../state/address.ts'

export interface Asked {
  id?: number
  flags?: number
  /** Size that the asker takes by UDP; no EDNS without it. */
  edns?: number
  ednsVersion?: number
  class?: 'IN' | 'CH' | 'ANY'
}

/** What the library does not type: the header's code by name. */
export type Told = DecodedPacket & { rcode: string; opcode: string }

export function question(name: string, type: string, asked: Asked = {}): Buffer {
  const { id = 4711, flags = 0x100, edns, ednsVersion = 0 } = asked
  const opt: Answer = {
    name: '.',
    type: 'OPT',
    udpPayloadSize: edns ?? 0,
    extendedRcode: 0,
    ednsVersion,
    flags: 0,
    flag_do: false,
    options: [],
  }
  return encode({
    type: 'query',
    id,
    flags,
    questions: [{ name, type: type as RecordType, class: asked.class ?? 'IN' }],
    additionals: edns === undefined ? [] : [opt],
  })
}

export function read(message: Uint8Array | undefined): Told {
  if (message === undefined) throw new Error('there is no answer')
  return decode(Buffer.from(message)) as Told
}

export const ip = (text: string): OverlayAddress => parseIpv4(text)!

/** Names of a mesh `prod` that are given here. */
export function names(table: Record<string, string>, subnet = '10.77.0.0/16'): NameView {
  return {
    domain: 'prod.internal',
    subnet: parseCidr(subnet)!,
    gateway: (parseCidr(subnet)!.address + 1) as OverlayAddress,
    find: name => (Object.hasOwn(table, name) ? ip(table[name]) : undefined),
    hasNamesBelow: name => Object.keys(table).some(each => each.endsWith(`.${name}`)),
    nameOf: address => Object.keys(table).find(name => ip(table[name]) === address),
  }
}
