// overmesh routes, route …: the overlay's routing table, and what an operator adds to it.
import type { Command } from 'commander'
import type { Route } from '../service.ts'
import { readInteger } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { formatStored } from './text.ts'

export function routeCommands(program: Command): void {
  listCommand(program.command('routes'), 'overmesh routes')
  const route = program.command('route').description('routes of the overlay')
  addCommand(route)
  listCommand(route.command('list'), 'overmesh route list')
  removeCommand(route)
}

function addCommand(route: Command): void {
  route
    .command('add')
    .description('reach a prefix through a client or controller; of several ways the best that is up is used')
    .argument('<cidr>', 'prefix')
    .requiredOption('--via <next hop>', 'client:NAME or controller:NAME', readVia)
    .option('--metric <n>', 'lower is preferred', readInteger('--metric', 0, 65_535), 0)
    .addHelpText('after', example('overmesh route add 192.168.5.0/24 --via client:site --metric 10'))
    .action(async (cidr: string, { via, metric }: { via: string; metric: number }, command: Command) => {
      const context = Context.of(command)
      const change = await context.withService(service => service.addRoute({ cidr, via, metric }))
      context.output.result(change, () =>
        context.output.line(`${change.cidr} goes via ${via}${formatStored(change.storedOn)}`),
      )
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

const ROUTE_COLUMNS: Column<Route>[] = [
  { title: 'CIDR', value: route => route.cidr },
  { title: 'VIA', value: route => route.via },
  { title: 'METRIC', value: route => String(route.metric), align: 'right' },
  { title: 'STATE', value: route => route.state, style: route => (route.state === 'up' ? 'green' : 'dim') },
]

function readVia(text: string): string {
  if (text === 'internet' || /^(client|controller|attachment):.+$/.test(text)) return text
  throw new UsageError(`--via: '${text}' is no next hop; use client:NAME or controller:NAME`)
}
