// overmesh client refresh: connected clients are told the routes that there are now.
import type { Command } from 'commander'
import { readInteger, readShownName } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import { formatStored } from './text.ts'

const clientName = readShownName('the client name')

export function refreshCommand(client: Command): void {
  client
    .command('refresh')
    .description('tell connected clients the routes that there are now; those that know them are left alone')
    .argument('[names...]', 'names of clients')
    .option('--all', 'all that are behind')
    .option(
      '--over <seconds>',
      'spread those that must connect anew over so long',
      readInteger('--over', 0, 86_400),
    )
    .addHelpText('after', example('overmesh client refresh --all --over 60'))
    .action(async (names: string[], { all, over }: { all?: boolean; over?: number }, command: Command) => {
      if (names.length > 0 === (all === true)) throw new UsageError('name clients, or give --all')
      const clients = names.length > 0 ? names.map(clientName) : undefined
      const context = Context.of(command)
      const remote = await context.needRunning()
      const result = await remote.refreshClients({ clients, over })
      const who = clients === undefined ? 'all clients that are behind' : `${clients.join(', ')}, if behind,`
      const when = over ? `within ${over} s` : 'now'
      context.output.result(result, () =>
        context.output.line(`${who} learn the routes ${when}${formatStored(result.storedOn)}`),
      )
    })
}
