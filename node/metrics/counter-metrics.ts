// What the parts of a controller count, under the names that operators meet.
import type { MeshCounters } from '../../mesh/core.ts'
import type { DnsCounters } from '../dns/responder.ts'
import type { CounterName } from '../switch/counters.ts'
import type { EndpointCounter } from '../vpn/endpoint.ts'
import type { Exposition, Labels, Sample } from './exposition.ts'

export type AnyCounter = CounterName | EndpointCounter | keyof MeshCounters | keyof DnsCounters

/** Metrics by name, each with what it says of itself. */
const FAMILIES = {
  overmesh_switch_receive_packets_total: 'Overlay packets received from clients and other controllers.',
  overmesh_switch_receive_bytes_total: 'Overlay bytes received from clients and other controllers.',
  overmesh_switch_transmit_packets_total: 'Overlay packets sent to clients and other controllers.',
  overmesh_switch_transmit_bytes_total: 'Overlay bytes sent to clients and other controllers.',
  overmesh_switch_dropped_packets_total: 'Packets dropped by the switch, by reason.',
  overmesh_switch_datagrams_received_total:
    'UDP datagrams received of any kind, those that are dropped included.',
  overmesh_switch_datagrams_sent_total: 'UDP datagrams handed to the kernel.',
  overmesh_switch_control_packets_received_total: 'Packets of handshakes and control channels received.',
  overmesh_switch_control_packets_sent_total: 'Packets of handshakes and control channels sent.',
  overmesh_switch_pings_received_total: 'Pings inside of the tunnel received from clients.',
  overmesh_switch_pings_sent_total: 'Pings inside of the tunnel sent to clients.',
  overmesh_switch_probes_received_total: 'Probes of backbone links and their answers received.',
  overmesh_switch_probes_sent_total: 'Probes of backbone links and their answers sent.',
  overmesh_switch_floats_total: 'Sessions and links whose other end moved to another address.',
  overmesh_switch_icmp_errors_sent_total: 'ICMP errors sent.',
  overmesh_switch_icmp_errors_suppressed_total:
    'ICMP errors that were not sent since too many had been already.',
  overmesh_switch_echo_replies_total: 'Echo requests that the switch answered.',
  overmesh_switch_fragmented_packets_total: 'Packets cut into fragments for a narrower way.',
  overmesh_switch_system_calls_total: 'System calls that moved packets, by kind.',
  overmesh_switch_busy_polls_total:
    'Times that the switch stayed awake, for half a millisecond at most, for an answer about to come.',
  overmesh_tun_receive_packets_total: "Overlay packets read from the controller's own interface.",
  overmesh_tun_receive_bytes_total: "Overlay bytes read from the controller's own interface.",
  overmesh_tun_transmit_packets_total: "Overlay packets written to the controller's own interface.",
  overmesh_tun_transmit_bytes_total: "Overlay bytes written to the controller's own interface.",
  overmesh_vpn_resets_total: 'First packets of clients that were answered.',
  overmesh_vpn_control_dropped_total:
    'Packets and messages of control channels that were dropped, by reason.',
  overmesh_vpn_handshakes_total: 'Handshakes begun by clients that had shown that they receive answers.',
  overmesh_vpn_handshakes_refused_total: 'Handshakes not begun since too many were under way.',
  overmesh_vpn_renegotiations_total: 'Sessions that were given new keys.',
  overmesh_vpn_renegotiations_failed_total: 'Sessions that could not be given new keys, by reason.',
  overmesh_vpn_push_updates_total: 'Times that a connected client was told other routes.',
  overmesh_vpn_internal_errors_total: 'Sessions ended by a fault of this program.',
  overmesh_sessions_opened_total: 'Sessions of clients opened here.',
  overmesh_sessions_refused_total: 'Sessions of clients refused here.',
  overmesh_mesh_frames_refused_total: 'Messages of other controllers that were not taken, by reason.',
  overmesh_mesh_records_refused_total: 'Records of other controllers that count nowhere.',
  overmesh_mesh_records_held_total:
    'Records of other controllers that were held back until they can be judged.',
  overmesh_dns_queries_total: 'DNS queries taken.',
  overmesh_dns_forwarded_total: 'DNS queries asked of resolvers.',
  overmesh_dns_answers_failed_total: 'DNS queries not answered as asked, by reason.',
  overmesh_dns_dropped_total: 'DNS queries not answered at all, by reason.',
} as const

type Family = keyof typeof FAMILIES

const dropped = (reason: string): [Family, Labels] => ['overmesh_switch_dropped_packets_total', { reason }]
const call = (kind: string): [Family, Labels] => ['overmesh_switch_system_calls_total', { call: kind }]
const control = (reason: string): [Family, Labels] => ['overmesh_vpn_control_dropped_total', { reason }]
const frame = (reason: string): [Family, Labels] => ['overmesh_mesh_frames_refused_total', { reason }]

/** Every counter there is: one that is added elsewhere is missed here by the types. */
const PLACES: Record<AnyCounter, readonly [family: Family, labels?: Labels]> = {
  rxPackets: ['overmesh_switch_receive_packets_total'],
  rxBytes: ['overmesh_switch_receive_bytes_total'],
  txPackets: ['overmesh_switch_transmit_packets_total'],
  txBytes: ['overmesh_switch_transmit_bytes_total'],
  tunRxPackets: ['overmesh_tun_receive_packets_total'],
  tunRxBytes: ['overmesh_tun_receive_bytes_total'],
  tunTxPackets: ['overmesh_tun_transmit_packets_total'],
  tunTxBytes: ['overmesh_tun_transmit_bytes_total'],
  rxDatagrams: ['overmesh_switch_datagrams_received_total'],
  txDatagrams: ['overmesh_switch_datagrams_sent_total'],
  controlRx: ['overmesh_switch_control_packets_received_total'],
  controlTx: ['overmesh_switch_control_packets_sent_total'],
  pingRx: ['overmesh_switch_pings_received_total'],
  pingTx: ['overmesh_switch_pings_sent_total'],
  probeRx: ['overmesh_switch_probes_received_total'],
  probeTx: ['overmesh_switch_probes_sent_total'],
  floated: ['overmesh_switch_floats_total'],
  icmpErrors: ['overmesh_switch_icmp_errors_sent_total'],
  icmpLimited: ['overmesh_switch_icmp_errors_suppressed_total'],
  echoReplies: ['overmesh_switch_echo_replies_total'],
  fragmented: ['overmesh_switch_fragmented_packets_total'],
  receiveCalls: call('receive'),
  sendCalls: call('send'),
  busyPolls: ['overmesh_switch_busy_polls_total'],
  tunReads: call('tun-read'),
  tunWrites: call('tun-write'),
  badLength: dropped('bad-length'),
  unknownOpcode: dropped('unknown-opcode'),
  unknownPeer: dropped('unknown-peer'),
  unknownKey: dropped('unknown-key'),
  badTag: dropped('bad-tag'),
  replayed: dropped('replayed'),
  spoofedSource: dropped('spoofed-source'),
  badIp: dropped('bad-ip-header'),
  notIpv4: dropped('not-ip'),
  noRoute: dropped('no-route'),
  unreachable: dropped('unreachable'),
  ttlExceeded: dropped('ttl-exceeded'),
  tooBig: dropped('too-big'),
  noSendKey: dropped('no-send-key'),
  sendBufferFull: dropped('send-buffer-full'),
  sendFailed: dropped('send-failed'),
  tunFailed: dropped('tun-failed'),
  controlQueueFull: dropped('control-queue-full'),
  notForUs: dropped('not-for-us'),
  floatRefused: dropped('float-refused'),
  sentBack: dropped('sent-back'),
  badOffload: dropped('bad-offload'),
  queryQueueFull: dropped('query-queue-full'),
  linkScope: dropped('link-scope'),
  resets: ['overmesh_vpn_resets_total'],
  resetsLimited: control('resets-limited'),
  resetsReplayed: control('resets-replayed'),
  resetsDraining: control('draining'),
  openingsLimited: control('openings-limited'),
  controlShort: control('too-short'),
  controlUnexpected: control('unexpected'),
  controlForged: control('forged'),
  controlReplayed: control('replayed'),
  controlUnknownKey: control('unknown-key'),
  controlMalformed: control('malformed'),
  clientKeyForged: control('client-key-forged'),
  clientKeyRefused: control('client-key-refused'),
  cookieInvalid: control('cookie-invalid'),
  handshakes: ['overmesh_vpn_handshakes_total'],
  handshakesLimited: ['overmesh_vpn_handshakes_refused_total'],
  internalErrors: ['overmesh_vpn_internal_errors_total'],
  pushUpdates: ['overmesh_vpn_push_updates_total'],
  renegotiations: ['overmesh_vpn_renegotiations_total'],
  renegotiationsFailed: ['overmesh_vpn_renegotiations_failed_total', { reason: 'failed' }],
  renegotiationTooSoon: ['overmesh_vpn_renegotiations_failed_total', { reason: 'too-soon' }],
  sessionsOpened: ['overmesh_sessions_opened_total'],
  sessionsRefused: ['overmesh_sessions_refused_total'],
  badFrames: frame('malformed'),
  unknownFrames: frame('newer-type'),
  badSignatures: frame('bad-signature'),
  unknownSenders: frame('unknown-sender'),
  droppedWork: frame('too-much'),
  refusedRecords: ['overmesh_mesh_records_refused_total'],
  heldRecords: ['overmesh_mesh_records_held_total'],
  dnsQueries: ['overmesh_dns_queries_total'],
  dnsForwarded: ['overmesh_dns_forwarded_total'],
  dnsFailed: ['overmesh_dns_answers_failed_total', { reason: 'no-answer' }],
  dnsRefused: ['overmesh_dns_answers_failed_total', { reason: 'refused' }],
  dnsMalformed: ['overmesh_dns_answers_failed_total', { reason: 'malformed' }],
  dnsForeign: ['overmesh_dns_dropped_total', { reason: 'foreign' }],
  dnsLimited: ['overmesh_dns_dropped_total', { reason: 'limited' }],
}

/** Those counters of which there is a figure. */
export function addCounterMetrics(
  out: Exposition,
  figures: Readonly<Partial<Record<AnyCounter, number>>>,
): void {
  const samples = new Map<Family, Sample[]>()
  for (const [counter, [family, labels = {}]] of Object.entries(PLACES)) {
    const value = figures[counter as AnyCounter]
    if (value === undefined) continue
    const list = samples.get(family) ?? []
    list.push([labels, value])
    samples.set(family, list)
  }
  for (const [family, help] of Object.entries(FAMILIES))
    out.counter(family, help, samples.get(family as Family) ?? [])
}
