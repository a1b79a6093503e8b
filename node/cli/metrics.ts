// overmesh metrics …: figures for Prometheus, and where they are served to it.
import type { Command } from 'commander'
import { isOpen } from '../metrics-listen.ts'
import { readListen } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'

export function metricsCommands(program: Command): void {
  const metrics = program
    .command('metrics')
    .description('figures in the format of Prometheus')
    .addHelpText('after', example('overmesh metrics'))
    .action((_options: unknown, command: Command) => show(command, false))
  metrics
    .command('show')
    .description('print them')
    .option('--clients', 'with those of each client that is connected here')
    .addHelpText('after', example('overmesh metrics show --clients'))
    .action(({ clients = false }: { clients?: boolean }, command: Command) => show(command, clients))
  metrics
    .command('listen')
    .description('serve them, and /healthz and /readyz, by plain HTTP to whoever reaches the address')
    .argument('[host:port]', 'where; as it is without', readListen('metrics listen'))
    .option('--none', 'serve them no more but on the unix socket')
    .addHelpText('after', example('overmesh metrics listen 127.0.0.1:9464'))
    .action(async (listen: string | undefined, { none = false }: { none?: boolean }, command: Command) => {
      if (none && listen !== undefined)
        throw new UsageError('metrics listen: give an address or --none; see `overmesh help metrics listen`')
      const context = Context.of(command)
      const { state, running } = await context.withService(async service => ({
        state:
          none || listen !== undefined
            ? await service.setMetricsListen(listen ?? null)
            : await service.metricsListen(),
        running: service.running,
      }))
      context.output.result(state, () => {
        const { listen: settled, listening } = state
        if (listening !== null) context.output.line(`figures are served at http://${listening}/metrics`)
        else if (settled === null) context.output.line('figures are served on the unix socket only')
        else if (running) context.output.line(`figures are not served at ${settled}: see \`overmesh status\``)
        else context.output.line(`figures are served at http://${settled}/metrics from the next start on`)
        if (listen !== undefined && isOpen(listen))
          context.output.note('whoever reaches that address may read them; let only Prometheus reach it')
      })
    })
}

async function show(command: Command, clients: boolean): Promise<void> {
  const context = Context.of(command)
  const remote = await context.needRunning()
  const text = await remote.metrics({ clients })
  context.output.result({ metrics: text }, () => context.output.write(text))
}
