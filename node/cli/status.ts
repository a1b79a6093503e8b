// overmesh status, sessions, routes: what is, now.
import type { Command } from 'commander'
import { cidrCovers, parseCidr } from '../../state/address.ts'
import type { Session, Status } from '../service.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import type { Column, Output } from './output.ts'
import { ROUTE_COLUMNS } from './route.ts'
import { bothOf, formatBytes, formatDuration, formatExpiry, formatSince, printable } from './text.ts'

export function statusCommands(program: Command): void {
  program
    .command('status')
    .description('this controller and the mesh at a glance')
    .addHelpText('after', example('overmesh status'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const status = await context.withService(service => service.status(), { says: true })
      context.output.result(status, () => printStatus(context.output, status))
    })
  program
    .command('sessions')
    .description('connected clients')
    .addHelpText('after', example('overmesh sessions'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const { sessions, running } = await context.withService(async service => ({
        sessions: await service.sessions(),
        running: service.running,
      }))
      const none = running ? 'no client is connected' : `no controller is running on ${context.place}`
      context.output.result(sessions, () => context.output.table(SESSION_COLUMNS, sessions, none))
    })
}

export const SESSION_COLUMNS: Column<Session>[] = [
  { title: 'CLIENT', value: session => session.client },
  { title: 'ADDRESS', value: session => bothOf(session.address, session.address6) },
  { title: 'CONTROLLER', value: session => session.controller },
  { title: 'FROM', value: session => session.remote },
  { title: 'FOR', value: session => formatSince(session.since), align: 'right' },
  { title: 'RECEIVED', value: session => passed(session, session.rxBytes), align: 'right' },
  { title: 'SENT', value: session => passed(session, session.txBytes), align: 'right' },
  { title: 'CIPHER', value: session => session.cipher },
  { title: 'ROUTES', value: session => (session.routesBehind ? 'behind' : ''), style: () => 'yellow' },
  { title: 'SOFTWARE', value: session => session.version },
]

/** What passed through a session of another controller is known to that one alone. */
function passed({ cipher }: Session, bytes: number): string {
  return cipher === '' ? '' : formatBytes(bytes)
}

/** What no subnet covers: a prefix of IPv6, here. */
const ANY = { address: 0, length: 0 }

/** The whole status as a person reads it. */
export function printStatus(output: Output, status: Status): void {
  const { mesh, controller, certificates } = status
  output.facts([
    ['mesh', `${mesh.name} (${bothOf(mesh.subnet, mesh.subnet6)})`],
    [
      'controller',
      controller.running
        ? `${controller.name}, up ${formatDuration(controller.uptimeSeconds)}, pid ${controller.pid}, Overmesh ${controller.version}`
        : `${controller.name}, not running (this is what its data directory says)`,
    ],
    [
      'address',
      `${bothOf(controller.address, controller.address6)}, gateway ${bothOf(controller.gateway, controller.gateway6)}`,
    ],
    ['listens on', `${controller.listen.join(' ')} (UDP), ${controller.meshListen.join(' ')} (TCP)`],
    ...(controller.api.length > 0
      ? [['API', `${controller.api.join(' ')} (HTTPS)`] as [string, string]]
      : []),
    ['clients dial', controller.public.join(' ')],
    ['interface', controller.tun ?? 'none: it switches between clients only'],
    ['records', `${status.records}, state ${status.stateHash}`],
    [
      'certificates',
      Object.entries(certificates)
        .map(([name, certificate]) => `${name} until ${formatExpiry(certificate.expiresAt)}`)
        .join(', '),
    ],
    ['sessions', String(status.sessions.length)],
  ])
  const peers = status.controllers.filter(peer => !peer.self)
  if (peers.length > 0) {
    output.line()
    output.table(CONTROLLER_COLUMNS, peers, '')
  }
  if (status.sessions.length > 0) {
    output.line()
    output.table(SESSION_COLUMNS, status.sessions, '')
  }
  // Addresses are routes as well, of which there is one for each client.
  const subnet = parseCidr(mesh.subnet)!
  const isAddress = (cidr: string) => cidrCovers(subnet, parseCidr(cidr) ?? ANY)
  const routes = status.routes.filter(({ cidr }) => !isAddress(cidr))
  if (routes.length > 0) {
    output.line()
    output.table(ROUTE_COLUMNS, routes, '')
  }
  if (status.attachments.length > 0) {
    output.line()
    output.table(SITE_COLUMNS, status.attachments, '')
  }
  const counters = Object.entries(status.counters).filter(([, value]) => value !== 0)
  if (counters.length > 0) {
    output.line()
    output.table(COUNTER_COLUMNS, counters, '')
  }
  const { stalePacks } = status
  const stale =
    stalePacks.length === 0
      ? []
      : [
          `${stalePacks.length} clientpacks were made before the controllers changed (${stalePacks.slice(0, 5).join(', ')}` +
            `${stalePacks.length > 5 ? ', …' : ''}); they still work, \`overmesh client pack\` makes them anew`,
        ]
  const notices = [...status.conflicts.map(conflict => conflict.message), ...stale, ...status.warnings]
  if (notices.length > 0) output.line()
  for (const notice of notices) output.line(`${output.paint('yellow', 'attention:')} ${printable(notice)}`)
}

const SITE_COLUMNS: Column<Status['attachments'][number]>[] = [
  { title: 'ATTACHMENT', value: each => each.name },
  {
    title: 'STATE',
    value: each => each.state,
    style: ({ state }) => (state === 'up' ? 'green' : state === 'disabled' ? 'dim' : 'red'),
  },
  { title: 'CONTROLLER', value: each => each.controller ?? '' },
  { title: 'FOR', value: each => formatSince(each.since), align: 'right' },
]

const CONTROLLER_COLUMNS: Column<Status['controllers'][number]>[] = [
  { title: 'PEER', value: peer => peer.name },
  {
    title: 'LINK',
    value: peer => (peer.link.up ? 'up' : 'down'),
    style: peer => (peer.link.up ? 'green' : 'red'),
  },
  {
    title: 'RTT',
    value: peer => (peer.link.up ? `${peer.link.rttMs.toFixed(1)} ms` : ''),
    align: 'right',
  },
  {
    title: 'LOSS',
    value: peer => (peer.link.up ? `${peer.link.lossPercent.toFixed(1)} %` : ''),
    align: 'right',
  },
  { title: 'RECORDS', value: peer => (peer.connected ? 'exchanged' : 'cut off') },
  { title: 'CLIENTS', value: peer => (peer.draining ? 'drained' : peer.version === '' ? '' : 'taken') },
  { title: 'VERSION', value: peer => peer.version },
  { title: 'STATE', value: peer => peer.stateHash.slice(0, 16) },
  { title: 'BEHIND', value: peer => String(peer.behind), align: 'right' },
]

const COUNTER_COLUMNS: Column<[string, number]>[] = [
  { title: 'COUNTER', value: ([name]) => name },
  { title: 'VALUE', value: ([, value]) => String(value), align: 'right' },
]
