// overmesh status, sessions, routes: what is, now.
import type { Command } from 'commander'
import type { Route, Session, Status } from '../service.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import type { Column, Output } from './output.ts'
import { formatBytes, formatDuration, formatExpiry, formatSince, printable } from './text.ts'

export function statusCommands(program: Command): void {
  program
    .command('status')
    .description('this controller and the mesh at a glance')
    .addHelpText('after', example('overmesh status'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const status = await context.withService(service => service.status())
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
      const none = running ? 'no client is connected' : `no controller is running on ${context.dataDir}`
      context.output.result(sessions, () => context.output.table(SESSION_COLUMNS, sessions, none))
    })
  routesCommand(program.command('routes'), 'overmesh routes')
  const route = program.command('route').description('routes of the overlay')
  routesCommand(route.command('list'), 'overmesh route list')
}

function routesCommand(command: Command, usage: string): void {
  command
    .description('the derived routing table')
    .addHelpText('after', example(usage))
    .action(async (_options: unknown, self: Command) => {
      const context = Context.of(self)
      const routes = await context.withService(service => service.routes())
      context.output.result(routes, () => context.output.table(ROUTE_COLUMNS, routes, 'no routes'))
    })
}

export const SESSION_COLUMNS: Column<Session>[] = [
  { title: 'CLIENT', value: session => session.client },
  { title: 'ADDRESS', value: session => session.address },
  { title: 'CONTROLLER', value: session => session.controller },
  { title: 'FROM', value: session => session.remote },
  { title: 'FOR', value: session => formatSince(session.since), align: 'right' },
  { title: 'RECEIVED', value: session => formatBytes(session.rxBytes), align: 'right' },
  { title: 'SENT', value: session => formatBytes(session.txBytes), align: 'right' },
  { title: 'CIPHER', value: session => session.cipher },
  { title: 'SOFTWARE', value: session => session.version },
]

const ROUTE_COLUMNS: Column<Route>[] = [
  { title: 'CIDR', value: route => route.cidr },
  { title: 'VIA', value: route => route.via },
  { title: 'METRIC', value: route => String(route.metric), align: 'right' },
  { title: 'STATE', value: route => route.state, style: route => (route.state === 'up' ? 'green' : 'dim') },
]

/** The whole status as a person reads it. */
export function printStatus(output: Output, status: Status): void {
  const { mesh, controller, certificates } = status
  output.facts([
    ['mesh', `${mesh.name} (${mesh.subnet})`],
    [
      'controller',
      controller.running
        ? `${controller.name}, up ${formatDuration(controller.uptimeSeconds)}, pid ${controller.pid}, Overmesh ${controller.version}`
        : `${controller.name}, not running (this is what its data directory says)`,
    ],
    ['address', `${controller.address}, gateway ${controller.gateway}`],
    ['listens on', controller.listen.join(' ')],
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
  const counters = Object.entries(status.counters).filter(([, value]) => value !== 0)
  if (counters.length > 0) {
    output.line()
    output.table(COUNTER_COLUMNS, counters, '')
  }
  const notices = [...status.conflicts.map(conflict => conflict.message), ...status.warnings]
  if (notices.length > 0) output.line()
  for (const notice of notices) output.line(`${output.paint('yellow', 'attention:')} ${printable(notice)}`)
}

const CONTROLLER_COLUMNS: Column<Status['controllers'][number]>[] = [
  { title: 'PEER', value: peer => peer.name },
  {
    title: 'LINK',
    value: peer => (peer.link.up ? 'up' : 'down'),
    style: peer => (peer.link.up ? 'green' : 'red'),
  },
  { title: 'RTT', value: peer => `${peer.link.rttMs.toFixed(1)} ms`, align: 'right' },
  { title: 'LOSS', value: peer => `${peer.link.lossPercent.toFixed(1)} %`, align: 'right' },
  { title: 'STATE', value: peer => peer.stateHash },
  { title: 'BEHIND', value: peer => String(peer.behind), align: 'right' },
]

const COUNTER_COLUMNS: Column<[string, number]>[] = [
  { title: 'COUNTER', value: ([name]) => name },
  { title: 'VALUE', value: ([, value]) => String(value), align: 'right' },
]
