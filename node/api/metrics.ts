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
    [labels({ state: 'up' }), status.routes.filter(route => route.state === 'up').length],
    [labels({ state: 'down' }), status.routes.filter(route => route.state === 'down').length],
  ])
  add(
    'overmesh_link_up',
    'gauge',
    'Backbone links to other controllers that are up.',
    status.controllers
      .filter(peer => !peer.self)
      .map(peer => [labels({ controller: peer.name }), Number(peer.link.up)]),
  )
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
