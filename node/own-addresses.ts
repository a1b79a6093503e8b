// Addresses by which other machines may reach this one.
import { networkInterfaces } from 'node:os'

/** Those of its interfaces that are up, without loopback and link-local ones; sorted, so that equal ones compare equal. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap(addresses => addresses ?? [])
    .filter(({ internal, address, scopeid }) => !internal && !scopeid && !address.startsWith('169.254.'))
    .map(({ address }) => address)
    .sort()
}
