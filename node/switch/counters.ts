// The switch's counters: doubles in shared memory, which one thread alone writes and any thread reads. On the 64-bit machines
// this runs on, reading an aligned double is never torn. Each thread has its own, and they are summed up by who reads them.

/** Places of the counters by name. The path of a packet does `cells[COUNTER.rxPackets]++`. */
export const COUNTER = {
  /** UDP datagrams of any kind received from the network, those that are dropped included. */
  rxDatagrams: 0,
  /** UDP datagrams handed to the kernel. */
  txDatagrams: 1,
  /** Overlay packets received from sessions that passed decryption and replay check. */
  rxPackets: 2,
  /** Overlay bytes in them. */
  rxBytes: 3,
  /** Overlay packets encrypted and handed to the kernel for sessions. */
  txPackets: 4,
  /** Overlay bytes in them. */
  txBytes: 5,
  /** Overlay packets read from the TUN. */
  tunRxPackets: 6,
  tunRxBytes: 7,
  /** Overlay packets written to the TUN. */
  tunTxPackets: 8,
  tunTxBytes: 9,
  /** Control-channel packets given to the endpoint. */
  controlRx: 10,
  /** Control-channel packets sent for the endpoint. */
  controlTx: 11,
  /** In-tunnel pings received. */
  pingRx: 12,
  /** In-tunnel pings sent. */
  pingTx: 13,
  /** Ports moved to a new remote address after an authenticated packet. */
  floated: 14,
  /** ICMP errors sent. */
  icmpErrors: 15,
  /** Echo requests answered by the switch itself. */
  echoReplies: 16,
  /** Packets cut into fragments since they were longer than the next hop's MTU. */
  fragmented: 17,
  /** System calls that received something. */
  receiveCalls: 18,
  /** System calls that sent something. */
  sendCalls: 19,
  /** Dropped: too short for its kind, or longer than a buffer. */
  badLength: 20,
  /** Dropped: no opcode that is in use. */
  unknownOpcode: 21,
  /** Dropped: data for a peer id that has no session. */
  unknownPeer: 22,
  /** Dropped: data under a key id that is not installed. */
  unknownKey: 23,
  /** Dropped: data that failed authentication. */
  badTag: 24,
  /** Dropped: a packet id seen before or too old to tell. */
  replayed: 25,
  /** Dropped: an overlay source address that is not the session's. */
  spoofedSource: 26,
  /** Dropped: a malformed IPv4 or IPv6 header. */
  badIp: 27,
  /** Dropped: a payload that is neither IPv4 nor an in-tunnel message, nor IPv6 where the overlay has that. */
  notIpv4: 28,
  /** Dropped: no route covers the destination. */
  noRoute: 29,
  /** Dropped: the route's next hop is not connected. */
  unreachable: 30,
  /** Dropped: no hop left. */
  ttlExceeded: 31,
  /** Dropped: longer than the next hop's MTU and not to be fragmented. */
  tooBig: 32,
  /** Dropped: the next hop's session has no key to send with yet. */
  noSendKey: 33,
  /** Dropped: the out-batch or the kernel's send buffer was full. */
  sendBufferFull: 34,
  /** Dropped: sending failed for another reason. */
  sendFailed: 35,
  /** Dropped: the TUN did not take it. */
  tunFailed: 36,
  /** Dropped: control packets that the endpoint was too slow for. */
  controlQueueFull: 37,
  /** Packets dropped in silence since too many ICMP errors were sent already. */
  icmpLimited: 38,
  /** Dropped: sent to the switch's own address and no echo request. */
  notForUs: 39,
  /** Dropped: an address change that was refused. */
  floatRefused: 40,
  /** Probes and answers received by backbone links. */
  probeRx: 41,
  /** Probes and answers sent by backbone links. */
  probeTx: 42,
  /** Dropped: came by a backbone link, and the route leads back by the same. */
  sentBack: 43,
  /** System calls that took a packet or super-packet from the TUN. */
  tunReads: 44,
  /** System calls that gave it one. */
  tunWrites: 45,
  /** Dropped: a super-packet of the kernel's that made no sense. */
  badOffload: 46,
  /** Dropped: queries to this machine that the main thread was too slow for. */
  queryQueueFull: 47,
  /** Dropped: IPv6 that is for one link only, as every kernel sends it unasked: from `::` or fe80::/10, to groups. */
  linkScope: 48,
  /** Times that the loop waited awake for an answer. */
  busyPolls: 49,
} as const

export type CounterName = keyof typeof COUNTER
/** All counters at one moment. */
export type SwitchCounters = Record<CounterName, number>

const NAMES = Object.keys(COUNTER) as CounterName[]

/** Shared memory for one switch's counters, all 0. */
export function allocateCounters(): SharedArrayBuffer {
  return new SharedArrayBuffer(NAMES.length * Float64Array.BYTES_PER_ELEMENT)
}

/** The cells of the thread that counts; exact up to 2^53. */
export function counterCells(memory: SharedArrayBuffer): Float64Array<SharedArrayBuffer> {
  return new Float64Array(memory)
}

/** Reads all counters, of several threads together. Each is right; together they may be some packets apart. */
export function readCounters(memories: readonly SharedArrayBuffer[]): SwitchCounters {
  const threads = memories.map(memory => new Float64Array(memory))
  const sum = (at: number): number => threads.reduce((total, cells) => total + cells[at], 0)
  return Object.fromEntries(NAMES.map(name => [name, sum(COUNTER[name])])) as SwitchCounters
}
