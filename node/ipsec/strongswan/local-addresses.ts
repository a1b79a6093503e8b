// The plugin kernel-libipsec takes a tunnel only where this machine has an address in each of its local subnets, since it wants one to
// send from. Where there is none, the subnet's own address stands in, which no host has: on the daemon's interface, and gone with it.
import { networkInterfaces } from 'node:os'
import { type Cidr, cidrContains, formatIpv4, parseCidr, parseIpv4 } from '../../../state/address.ts'
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'

/** Of more hosts than one: a prefix of 31 or 32 bits has no address that is nobody's (RFC 3021). */
const LONGEST = 30

export interface LocalAddresses {
  /** Such as `192.168.20.0/32`. */
  readonly wanted: string[]
  /** Subnets that no address can be had for. */
  readonly impossible: string[]
}

/** @param present IPv4 addresses of this machine, in text; this one's unless given */
export function localAddresses(subnets: Iterable<string>, present = addressesHere()): LocalAddresses {
  const own = present.flatMap(text => parseIpv4(text) ?? [])
  const wanted = new Set<string>()
  const impossible: string[] = []
  for (const text of new Set(subnets)) {
    const cidr = parseCidr(text)
    if (cidr === undefined || hasLoopback(cidr) || own.some(address => cidrContains(cidr, address))) continue
    if (cidr.length > LONGEST) impossible.push(text)
    else wanted.add(`${formatIpv4(cidr.address)}/32`)
  }
  return { wanted: [...wanted], impossible }
}

/** @param device the daemon's interface @returns the subnets that no address can be had for */
export async function lendAddresses(
  device: string,
  subnets: Iterable<string>,
  kernel: Pick<Kernel, 'run'> = thisKernel,
): Promise<string[]> {
  const { wanted, impossible } = localAddresses(subnets)
  for (const address of wanted) {
    const { code } = await kernel.run('ip', ['address', 'replace', address, 'dev', device])
    if (code !== 0) impossible.push(address)
  }
  return impossible
}

/** Then the daemon leaves the choice to the kernel. */
function hasLoopback(cidr: Cidr): boolean {
  return cidrContains(cidr, parseIpv4('127.0.0.1')!)
}

function addressesHere(): string[] {
  return Object.values(networkInterfaces()).flatMap(all => (all ?? []).map(({ address }) => address))
}
