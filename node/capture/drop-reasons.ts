// Why the switch drops packets, in words, by the counters that `status` shows.
import { COUNTER, type CounterName } from '../switch/counters.ts'

const WORDS: Partial<Record<CounterName, string>> = {
  spoofedSource: 'the source address is none that the sender may use',
  badIp: 'the IP header is malformed',
  notIpv4: 'the overlay has no IPv6',
  noRoute: 'no route to the destination',
  unreachable: 'the destination is not connected',
  ttlExceeded: 'no hop left (TTL)',
  tooBig: 'longer than the MTU of the way, and not to be fragmented',
  noSendKey: 'the session has no key to send with yet',
  tunFailed: 'the TUN did not take it',
  notForUs: 'to the controller itself, which answers only echo requests and DNS without a TUN',
  floatRefused: 'from an address where another session is',
  sentBack: 'came by a link, and the route leads back by it',
  badOffload: 'a super-packet of the kernel that makes no sense',
  linkScope: 'IPv6 that is for one link only',
}

const NAMES = new Map<number, CounterName>(
  Object.entries(COUNTER).map(([name, place]) => [place, name as CounterName]),
)

/** @param counter where the drop was counted @returns `NAME: words`; the name is that of the counter */
export function dropReason(counter: number): string {
  const name = NAMES.get(counter)
  if (name === undefined) return 'unknown'
  const words = WORDS[name]
  return words === undefined ? name : `${name}: ${words}`
}
