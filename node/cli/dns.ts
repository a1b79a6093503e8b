// overmesh dns …: names of the overlay for clients.
import type { Command } from 'commander'
import { parseForwarder } from '../dns/forwarders.ts'
import type { ChangeDns, DnsState } from '../service-dns.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Output } from './output.ts'
import { formatStored } from './text.ts'

export function dnsCommands(program: Command): void {
  const dns = program
    .command('dns')
    .description('names of clients and controllers, for the whole mesh')
    .addHelpText('after', example('overmesh dns'))
    .action((_options: unknown, command: Command) => show(command))
  dns
    .command('show')
    .description('what is set, and whether it is served here')
    .addHelpText('after', example('overmesh dns show'))
    .action((_options: unknown, command: Command) => show(command))
  dns
    .command('forward')
    .description("resolvers to ask what is not the overlay's; --none: refuse it")
    .argument('[address...]', 'ADDRESS or ADDRESS:PORT, the first to ask first')
    .option('--none', 'ask nobody')
    .addHelpText('after', example('overmesh dns forward 192.0.2.53 192.0.2.54'))
    .action((addresses: string[], { none = false }: { none?: boolean }, command: Command) => {
      if (none === addresses.length > 0)
        throw new UsageError(
          'dns forward: give addresses of resolvers, or --none; see `overmesh help dns forward`',
        )
      for (const address of addresses) {
        if (parseForwarder(address) === undefined)
          throw new UsageError(
            `dns forward: '${address}' is no address of a resolver; write it as 192.0.2.53`,
          )
      }
      return change(command, { forwarders: addresses })
    })
  for (const [name, enabled] of [
    ['on', true],
    ['off', false],
  ] as const) {
    dns
      .command(name)
      .description(`${enabled ? 'tell' : 'do not tell'} clients to ask here, from their next connection on`)
      .addHelpText('after', example(`overmesh dns ${name}`))
      .action((_options: unknown, command: Command) => change(command, { enabled }))
  }
}

async function show(command: Command): Promise<void> {
  const context = Context.of(command)
  const state = await context.withService(service => service.dns())
  context.output.result(state, () => print(context.output, state))
}

async function change(command: Command, wanted: ChangeDns): Promise<void> {
  const context = Context.of(command)
  const state = await context.withService(service => service.changeDns(wanted))
  context.output.result(state, () => context.output.line(`${inWords(state)}${formatStored(state.storedOn)}`))
}

function print(output: Output, { enabled, domain, server, forwarders, serves }: DnsState): void {
  output.facts([
    ['dns', enabled ? 'on' : 'off'],
    ['domain', domain ?? 'none: DNS cannot carry the name of this mesh'],
    ['server', server],
    ['other names', forwarders.length > 0 ? forwarders.join(', ') : 'refused'],
    ['served here', serves.length > 0 ? serves.join(', ') : 'no'],
  ])
}

function inWords({ enabled, domain, server, forwarders }: DnsState): string {
  if (!enabled) return 'DNS is off'
  const others = forwarders.length > 0 ? `asked of ${forwarders.join(', ')}` : 'refused'
  return `NAME.${domain} is answered at ${server}, other names are ${others}`
}
