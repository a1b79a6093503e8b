// A status as Prometheus text, exposition format 0.0.4.
import type { Status } from '../service.ts'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export function metricsText(status: Status): string {
  const lines: string[] = []
  const add = (
    name: string,
    type: 'gauge' | 'counter',
    help: string,
    values: [labels: string, value: number][],
  ) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
    for (const [labels, value] of values) lines.push(`${name}${labels} ${value}`)
  }
  const { controller, certificates } = status
  add('overmesh_info', 'gauge', 'What runs here.', [
    [labels({ mesh: status.mesh.name, controller: controller.name, version: controller.version }), 1],
  ])
  add('overmesh_uptime_seconds', 'gauge', 'Seconds since the controller started.', [
    ['', controller.uptimeSeconds],
  ])
  add('overmesh_sessions', 'gauge', 'Clients connected now, by controller.', countBy(status.sessions))
  add('overmesh_records', 'gauge', 'Records of the replica.', [['', status.records]])
  add('overmesh_conflicts', 'gauge', 'Conflicts that need an operator.', [['', status.conflicts.length]])
  add('overmesh_routes', 'gauge', 'Routes by state.', [
    [labels({ state: 'up' }), status.routes.filter(route => route.state !== 'down').length],
    [labels({ state: 'down' }), status.routes.filter(route => route.state === 'down').length],
  ])
  const peers = status.controllers.filter(peer => !peer.self)
  const ofPeers = (value: (peer: Status['controllers'][number]) => number): [string, number][] =>
    peers.map(peer => [labels({ controller: peer.name }), value(peer)])
  const up = ofPeers(peer => Number(peer.link.up))
  add('overmesh_link_up', 'gauge', 'Backbone links to other controllers that are up.', up)
  const rtt = ofPeers(peer => peer.link.rttMs / 1000)
  add('overmesh_link_round_trip_seconds', 'gauge', 'Round trip of the backbone link, smoothed.', rtt)
  const loss = ofPeers(peer => peer.link.lossPercent / 100)
  add('overmesh_link_loss_ratio', 'gauge', 'Share of the latest probes that were not answered.', loss)
  const mtu = ofPeers(peer => peer.link.mtu)
  add('overmesh_link_mtu_bytes', 'gauge', 'Longest overlay packet that passes in one piece.', mtu)
  const connected = ofPeers(peer => Number(peer.connected))
  add('overmesh_peer_connected', 'gauge', 'Controllers that records are exchanged with.', connected)
  const behind = ofPeers(peer => peer.behind)
  add('overmesh_peer_behind_records', 'gauge', 'Records a controller is known to lack.', behind)
  add('overmesh_draining', 'gauge', 'The controller takes no clients.', [['', Number(controller.draining)]])
  add('overmesh_stale_packs', 'gauge', 'Clientpacks that list other controllers than there are.', [
    ['', status.stalePacks.length],
  ])
  add(
    'overmesh_certificate_expiry_seconds',
    'gauge',
    'End of validity in seconds since the epoch.',
    Object.entries(certificates).map(([name, certificate]) => [
      labels({ certificate: name }),
      Date.parse(certificate.expiresAt) / 1000,
    ]),
  )
  add(
    'overmesh_count_total',
    'counter',
    'Packets and events by name, dropped ones by reason.',
    Object.entries(status.counters).map(([name, value]) => [labels({ name }), value]),
  )
  return `${lines.join('\n')}\n`
}

function countBy(sessions: Status['sessions']): [string, number][] {
  const counts = new Map<string, number>()
  for (const { controller } of sessions) counts.set(controller, (counts.get(controller) ?? 0) + 1)
  return [...counts].map(([controller, count]) => [labels({ controller }), count])
}

function labels(values: Record<string, string>): string {
  const pairs = Object.entries(values).map(
    ([name, value]) =>
      `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  )
  return `{${pairs.join(',')}}`
}
