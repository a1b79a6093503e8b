// overmesh controller …, leave: who is a controller of the mesh.
import type { Command } from 'commander'
import { parseHostPort } from '../net/ip.ts'
import { DEFAULT_PORT } from '../push.ts'
import type { Place, Relocation } from '../relocation.ts'
import type { ControllerEntry, Removal } from '../service-membership.ts'
import { readName } from './arguments.ts'
import { Context, LOCK_PATIENCE_MS } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { example } from './help.ts'
import { relocationOptions } from './listen-options.ts'
import type { Column, Output } from './output.ts'
import { bothOf, formatStored } from './text.ts'

export function controllerCommands(program: Command): void {
  const controller = program.command('controller').description('the controllers of the mesh')
  controller
    .command('list')
    .description('all controllers')
    .option('--all', 'those that were removed, too')
    .addHelpText('after', example('overmesh controller list'))
    .action(async ({ all }: { all?: boolean }, command: Command) => {
      const context = Context.of(command)
      const { entries, running } = await context.withService(async service => ({
        entries: await service.controllers(all),
        running: service.running,
      }))
      context.output.result(entries, () => {
        context.output.table(COLUMNS, entries, '')
        if (!running) context.output.note('no controller is running here, so which ones are up is not known')
      })
    })
  controller
    .command('remove')
    .description('take another controller out of the mesh for good')
    .argument('<name>', 'name of the controller', readName('the controller name'))
    .addHelpText('after', example('overmesh controller remove berlin'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const removal = await context.withService(service => service.removeController(name))
      context.output.result(removal, () => printRemoval(context.output, removal, 'was removed'))
    })
  relocationOptions(controller.command('move'))
    .description(
      'say where this controller listens and is dialled from now on; what is not given stays as it was. It must not be running',
    )
    .addHelpText('after', example('overmesh controller move --public vpn2.example.net --listen 0.0.0.0:1195'))
    .action(move)
  program
    .command('leave')
    .description('take this controller out of the mesh for good; its clients go to the others')
    .addHelpText('after', example('overmesh leave'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const remote = await context.needRunning()
      const removal = await remote.leave()
      context.output.result(removal, () => {
        printRemoval(context.output, removal, 'has left the mesh')
        context.output.note(
          'its process and data directory are of no more use: stop the one, remove the other',
        )
      })
    })
}

async function move(relocation: Relocation, command: Command): Promise<void> {
  const context = Context.of(command)
  const { dataDir, output } = context
  if (Object.keys(relocation).length === 0)
    throw new UsageError('controller move: give what changes: --public, --listen or --mesh-listen')
  if (await context.running())
    throw new CommandError(
      `a controller is running on ${dataDir}; stop it first: on SIGTERM its clients go to the others`,
    )
  const [{ openHome }, { relocate }] = await Promise.all([
    import('../offline.ts'),
    import('../relocation.ts'),
  ])
  const { home, notices } = await openHome(dataDir, LOCK_PATIENCE_MS)
  for (const notice of notices) output.note(`attention: ${notice}`)
  let place: Place
  try {
    place = await relocate(home, relocation)
  } finally {
    await home.close()
  }
  output.result(place, () => {
    output.facts([
      ['clients dial', place.public.join(' ')],
      ['peers dial', place.mesh.join(' ')],
      ['it listens on', place.listen.join(' ')],
      ['for peers on', place.meshListen],
    ])
    output.note('next: `overmesh up` runs it there, and the other controllers hear of it')
    for (const note of consequences(place)) output.note(note)
  })
}

/** What is to be done elsewhere. */
function consequences({ public: dialled, listen, gone, sites }: Place): string[] {
  const notes: string[] = []
  if (gone.length > 0) {
    notes.push(
      `packs made before name ${gone.join(' and ')}: their clients use the other controllers, and have none if there are none, until they are given new ones by \`overmesh client pack\``,
    )
    if (sites.length > 0)
      notes.push(
        `so may the routers of ${sites.join(', ')}: \`overmesh ipsec export\` has their settings as they are now`,
      )
  }
  const forwarded = portsOf(dialled).filter(port => !portsOf(listen).includes(port))
  if (forwarded.length > 0)
    notes.push(
      `port ${forwarded.join(' and ')} is dialled, and nothing here listens on it: something is to forward it, or --public to name another`,
    )
  return notes
}

const portsOf = (endpoints: readonly string[]): number[] => [
  ...new Set(endpoints.map(text => parseHostPort(text, DEFAULT_PORT).port)),
]

function printRemoval(output: Output, { controller, clients, storedOn }: Removal, done: string): void {
  output.line(`controller ${controller} ${done}${formatStored(storedOn)}`)
  if (clients.length === 0) return
  const count =
    clients.length === 1
      ? 'the credential of 1 client, which ends'
      : `the credentials of ${clients.length} clients, which end`
  const shown = clients.slice(0, 20).join(', ')
  const more = clients.length > 20 ? `, and ${clients.length - 20} more` : ''
  output.line(`it issued ${count} with it: ${shown}${more}`)
  output.note(`give them new ones with \`overmesh client reissue --issuer ${controller} --out-dir DIR\``)
}

const COLUMNS: Column<ControllerEntry>[] = [
  { title: 'NAME', value: entry => (entry.self ? `${entry.name} (this one)` : entry.name) },
  {
    title: 'STATE',
    value: stateOf,
    style: entry => (entry.removedAt !== null ? 'red' : entry.up ? 'green' : 'dim'),
  },
  { title: 'ADDRESS', value: entry => bothOf(entry.address, entry.address6) },
  { title: 'CLIENTS DIAL', value: entry => entry.public.join(' ') },
  { title: 'PEERS DIAL', value: entry => entry.mesh.join(' ') },
  { title: 'BEHIND', value: entry => String(entry.behind), align: 'right' },
  { title: 'ROOT KEY', value: entry => (entry.holdsRootKey ? 'here' : '') },
  { title: 'JOINED', value: entry => entry.joinedAt.slice(0, 10) },
]

function stateOf(entry: ControllerEntry): string {
  if (entry.removedAt !== null) return `removed by ${entry.removedBy}`
  if (!entry.up) return 'away'
  return entry.draining ? 'drained' : 'up'
}
