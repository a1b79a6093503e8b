// overmesh routes, route …: the overlay's routing table, and what an operator adds to it.
import type { Command } from 'commander'
import type { AddRoute, Route, RouteUpdates } from '../service.ts'
import { readAnyAddress, readInteger } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { formatStored, printable } from './text.ts'

const MAX_OVER = 86_400

export function routeCommands(program: Command): void {
  listCommand(program.command('routes'), 'overmesh routes')
  const route = program.command('route').description('routes of the overlay')
  addCommand(route)
  listCommand(route.command('list'), 'overmesh route list')
  removeCommand(route)
  updatesCommand(route)
}

function addCommand(route: Command): void {
  route
    .command('add')
    .description('reach a prefix through a client or controller; of several ways the best that is up is used')
    .argument('<cidr>', 'prefix')
    .requiredOption(
      '--via <next hop>',
      'client:NAME, controller:NAME, attachment:NAME, internet (the nearest controller that forwards) or internet:NAME',
      readVia,
    )
    .option('--metric <n>', 'lower is preferred', readInteger('--metric', 0, 65_535), 0)
    .option('--nat', 'the controller sends packets on with its own address (via internet: always)')
    .option('--no-nat', 'packets keep their overlay address (default via controller:NAME)')
    .option('--probe <address>', 'use it only while this address answers pings', readAnyAddress('--probe'))
    .option('--default', 'a prefix as large as the Internet is meant, though not via internet')
    .addHelpText('after', example('overmesh route add 192.168.5.0/24 --via client:site --metric 10'))
    .action(async (cidr: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const options = command.opts<Omit<AddRoute, 'cidr'>>()
      const change = await context.withService(service => service.addRoute({ cidr, ...options }))
      context.output.result(change, () => {
        context.output.line(`${change.cidr} goes via ${options.via}${formatStored(change.storedOn)}`)
        for (const note of change.notes) context.output.line(printable(note))
      })
    })
}

function removeCommand(route: Command): void {
  route
    .command('remove')
    .description('remove what was added for a prefix')
    .argument('<cidr>', 'prefix')
    .option('--via <next hop>', 'only the route through this', readVia)
    .addHelpText('after', example('overmesh route remove 192.168.5.0/24'))
    .action(async (cidr: string, { via }: { via?: string }, command: Command) => {
      const context = Context.of(command)
      const change = await context.withService(service => service.removeRoute(cidr, via))
      context.output.result(change, () =>
        context.output.line(
          `${change.changed} ${change.changed === 1 ? 'route' : 'routes'} to ${change.cidr} removed` +
            formatStored(change.storedOn),
        ),
      )
    })
}

function updatesCommand(route: Command): void {
  route
    .command('updates')
    .description('when connected clients that must connect anew for it learn of other routes')
    .argument(
      '[when]',
      'now, later, or seconds over which they are spread; shows what is set if left out',
      readWhen,
    )
    .addHelpText('after', example('overmesh route updates 60'))
    .addHelpText(
      'after',
      '\nClients that take routes while they are connected (OpenVPN 2.7) are told at once, or later.',
    )
    .action(async (when: RouteUpdates | undefined, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const updates = await context.withService(service =>
        when === undefined ? service.routeUpdates() : service.setRouteUpdates(when),
      )
      context.output.result(updates, () => context.output.line(updatesText(updates)))
    })
}

function updatesText({ over }: RouteUpdates): string {
  if (over === 'later')
    return 'clients learn of other routes when they connect, or by `overmesh client refresh`'
  const spread = over === 0 ? 'at once' : `spread over ${over} s`
  return `clients learn of other routes ${spread}, by a new connection where need be`
}

function listCommand(command: Command, usage: string): void {
  command
    .description('the derived routing table')
    .addHelpText('after', example(usage))
    .action(async (_options: unknown, self: Command) => {
      const context = Context.of(self)
      const routes = await context.withService(service => service.routes())
      context.output.result(routes, () => context.output.table(ROUTE_COLUMNS, routes, 'no routes'))
    })
}

export const ROUTE_COLUMNS: Column<Route>[] = [
  { title: 'CIDR', value: route => route.cidr },
  {
    title: 'VIA',
    value: route => (route.nat && route.via.startsWith('controller') ? `${route.via} (nat)` : route.via),
  },
  { title: 'METRIC', value: route => String(route.metric), align: 'right' },
  { title: 'PROBE', value: route => route.probe ?? '' },
  {
    title: 'STATE',
    value: stateText,
    style: route => (route.state === 'active' ? 'green' : route.state === 'down' ? 'red' : 'dim'),
  },
]

function stateText({ state, why, via, at }: Route): string {
  if (state === 'down') return why === '' ? 'down' : `down: ${why}`
  const there = via === 'internet' && at !== null ? ` at ${at}` : ''
  return state === 'standby' ? `standby${there}: another is better` : `active${there}`
}

function readVia(text: string, before?: string): string {
  if (before !== undefined)
    throw new UsageError(`--via ${before} and --via ${text}: one at a time; each way is a route of its own`)
  if (text === 'internet' || /^(client|controller|internet|attachment):.+$/.test(text)) return text
  throw new UsageError(
    `--via: '${text}' is no next hop; use client:NAME, controller:NAME, attachment:NAME, internet or internet:NAME`,
  )
}

function readWhen(text: string): RouteUpdates {
  if (text === 'later') return { over: 'later' }
  if (text === 'now') return { over: 0 }
  return { over: readInteger('when', 0, MAX_OVER)(text) }
}
