// overmesh client …: clients, their credentials and their sessions.
import type { Command } from 'commander'
import { LIFETIMES } from '../pki/renewal.ts'
import type { Client, ControllerService, Pack, PackFormat } from '../service.ts'
import {
  readAddress,
  readAnyCidr,
  readChoice,
  readInteger,
  readName,
  readNewName,
  readShownName,
  readTags,
  repeated,
} from './arguments.ts'
import { Context } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { intoFile, outputPath } from './output-file.ts'
import { refreshCommand } from './refresh.ts'
import { reissueCommand } from './reissue.ts'
import { needFile, type SealOptions, sealedFormat, sealOptions } from './seal-options.ts'
import { readSecret } from './secret.ts'
import { bothOf, formatBytes, formatExpiry, formatSince, formatStored, printable } from './text.ts'

const FORMATS = ['ovpn', 'p12', 'zip'] as const
const DAYS = `validity of its certificate, from now on (default: ${LIFETIMES.client / 86_400}, five years)`
const clientName = readShownName('the client name')
const preferred = repeated('--prefer', readName('--prefer'))

interface PackOptions {
  out?: string
  force?: boolean
}

export function clientCommands(program: Command): void {
  const client = program.command('client').description('clients and their credentials')
  addCommand(client)
  listCommand(client)
  showCommand(client)
  packCommand(client)
  accessCommands(client)
  rekeyCommand(client)
  reissueCommand(client)
  refreshCommand(client)
}

function addCommand(client: Command): void {
  sealOptions(client.command('add'))
    .description('add a client and write its clientpack: one .ovpn file with everything in it, its key too')
    .argument('<name>', 'name of the client', readNewName('the client name'))
    .option('--ip <address>', 'overlay address (default: the next free one)', readAddress('--ip'))
    .option(
      '--subnet <cidr>',
      'network behind the client; repeat for more',
      repeated('--subnet', readAnyCidr('--subnet')),
    )
    .option('--tag <key=value>', 'a note kept with the client; repeat for more', readTags('--tag'))
    .option('--days <n>', DAYS, readInteger('--days', 1, 36500))
    .option('--prefer <name>', 'controller that it is to try first; repeat for more', preferred)
    .option('--out <file>', 'write the clientpack there (mode 0600) instead of standard output')
    .option('--force', 'replace that file if it exists')
    .addHelpText('after', example('overmesh client add web --tag site=berlin --out web.ovpn'))
    .action(async (name: string, options: AddOptions, command: Command) => {
      const context = Context.of(command)
      const { ip, subnet: subnets, tag: tags, days, prefer, sealAllow: allow } = options
      const format = sealedFormat(options, undefined)
      needFile(format, outputPath(options), context.output.interactive && !context.output.json)
      const again = `client ${name} was added: get its pack with \`overmesh client pack ${name} --out FILE\``
      const { client: added } = await deliver(context, options, again, async service => {
        const pack = await service.addClient({ name, ip, subnets, tags, days, prefer })
        if (format === 'ovpn') return pack
        const other = await service.packClient(name, format, { allow })
        return { ...other, client: { ...other.client, notes: pack.client.notes } }
      })
      const { address, address6, storedOn, notes = [] } = added
      context.output.note(`client ${name} has address ${bothOf(address, address6)}${formatStored(storedOn)}`)
      for (const note of notes) context.output.note(printable(note))
    })
}

interface AddOptions extends PackOptions, SealOptions {
  ip?: string
  subnet?: string[]
  tag?: Record<string, string>
  days?: number
  prefer?: string[]
}

function listCommand(client: Command): void {
  client
    .command('list')
    .description('all clients')
    .addHelpText('after', example('overmesh client list'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const clients = await context.withService(service => service.clients())
      context.output.result(clients, () =>
        context.output.table(
          COLUMNS,
          clients,
          'no clients yet; add one with `overmesh client add NAME --out NAME.ovpn`',
        ),
      )
    })
}

const COLUMNS: Column<Client>[] = [
  { title: 'NAME', value: client => client.name },
  { title: 'ADDRESS', value: client => bothOf(client.address, client.address6) },
  {
    title: 'STATE',
    value: clientState,
    style: client =>
      client.revoked || !client.enabled || client.issuerRemoved ? 'red' : client.session ? 'green' : 'dim',
  },
  { title: 'ON', value: client => client.session?.controller ?? '' },
  { title: 'FROM', value: client => client.session?.remote ?? '' },
  { title: 'SUBNETS', value: client => client.subnets.join(' ') },
  { title: 'EXPIRES', value: client => formatExpiry(client.expiresAt) },
  { title: 'TAGS', value: tagText },
]

function showCommand(client: Command): void {
  client
    .command('show')
    .description('one client')
    .argument('<name>', 'name of the client', clientName)
    .addHelpText('after', example('overmesh client show web'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      showClient(context, await context.withService(service => service.client(name)))
    })
}

function showClient({ output }: Context, client: Client): void {
  output.result(client, () => {
    const { session } = client
    output.facts([
      ['name', client.name],
      ['address', bothOf(client.address, client.address6)],
      ['state', clientState(client)],
      ['subnets', client.subnets.join(' ')],
      ['tags', tagText(client)],
      ['serial', client.serial],
      [
        'issuer',
        client.issuerRemoved ? `${client.issuer}, which was removed: rekey this client` : client.issuer,
      ],
      ['created', client.createdAt],
      ['expires', formatExpiry(client.expiresAt)],
      ['prefers', client.prefer.join(' ')],
      ['clientpack', client.packStale ? STALE : 'lists the controllers that there are'],
      [
        'session',
        session
          ? `on ${session.controller} from ${session.remote}, for ${formatSince(session.since)}`
          : 'none',
      ],
      // Of a session elsewhere its controller knows more.
      ...(session && session.cipher !== ''
        ? ([
            ['traffic', `received ${formatBytes(session.rxBytes)}, sent ${formatBytes(session.txBytes)}`],
            ['protocol', `${session.tls}, ${session.cipher}, ${session.keyDerivation}`],
            ['software', session.version],
          ] as [string, string][])
        : []),
    ])
  })
}

const STALE = 'made before the controllers changed; make it again with `overmesh client pack`'

function packCommand(client: Command): void {
  sealOptions(client.command('pack'))
    .description('write the clientpack of a client again')
    .argument('<name>', 'name of the client', clientName)
    .option('--out <file>', 'write it there (mode 0600) instead of standard output')
    .option('--force', 'replace that file if it exists')
    .option(
      '--format <format>',
      `one of ${FORMATS.join(', ')} (default: ovpn)`,
      readChoice<PackFormat>('--format', FORMATS),
    )
    .option('--prefer <name>', 'controller to list first, from now on; repeat for more', preferred)
    .option(
      '--password-file <file>',
      'for p12: its first line protects the file (- reads standard input); without it the password is empty',
    )
    .addHelpText('after', example('overmesh client pack web --format zip --out web.zip'))
    .action(
      async (
        name: string,
        options: PackOptions &
          SealOptions & { format?: PackFormat; passwordFile?: string; prefer?: string[] },
        command: Command,
      ) => {
        const context = Context.of(command)
        const { passwordFile, prefer, sealAllow: allow } = options
        const format = sealedFormat(options, options.format)
        if (passwordFile !== undefined && format !== 'p12') {
          throw new UsageError('--password-file protects a .p12 only; add --format p12')
        }
        needFile(format, outputPath(options), context.output.interactive && !context.output.json)
        const password =
          passwordFile === undefined ? undefined : await readSecret(passwordFile, 'the password')
        await deliver(context, options, 'try again with --out FILE', service =>
          service.packClient(name, format, { password, prefer, allow }),
        )
        if (format === 'p12' && password === undefined)
          context.output.note(
            'its password is empty: whoever has the file has the key; --password-file gives it one',
          )
      },
    )
}

function accessCommands(client: Command): void {
  const simple = (
    name: string,
    description: string,
    done: string,
    act: (service: ControllerService, name: string, reason?: string) => Promise<Client>,
    takesReason: boolean,
  ) => {
    const command = client
      .command(name)
      .description(description)
      .argument('<name>', 'name of the client', clientName)
      .addHelpText('after', example(`overmesh client ${name} web`))
    if (takesReason) command.option('--reason <text>', 'kept with the events', readReason)
    command.action(async (target: string, options: { reason?: string }, self: Command) => {
      const context = Context.of(self)
      const result = await context.withService(service => act(service, target, options.reason))
      context.output.result(result, () =>
        context.output.line(`client ${target} is ${done}${formatStored(result.storedOn)}`),
      )
    })
  }
  simple(
    'disable',
    'end its session and admit no new one until it is enabled',
    'disabled',
    (service, name, reason) => service.disableClient(name, reason),
    true,
  )
  simple(
    'enable',
    'admit a disabled client again',
    'enabled',
    (service, name) => service.enableClient(name),
    false,
  )
  simple(
    'revoke',
    'end its session and make its certificate useless for good; its address becomes free',
    'revoked',
    (service, name, reason) => service.revokeClient(name, reason),
    true,
  )
  client
    .command('kick')
    .description('end its session; it may come back at once')
    .argument('<name>', 'name of the client', clientName)
    .addHelpText('after', example('overmesh client kick web'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const remote = await context.needRunning()
      const result = await remote.kickClient(name)
      context.output.result(result, () => {
        if (result.kicked) context.output.line(`client ${name} was disconnected`)
      })
      if (!result.kicked) throw new CommandError(`client ${name} is not connected; see \`overmesh sessions\``)
    })
}

function rekeyCommand(client: Command): void {
  client
    .command('rekey')
    .description('give a client a new key and certificate; its old clientpack is useless from then on')
    .argument('<name>', 'name of the client', clientName)
    .option('--days <n>', DAYS, readInteger('--days', 1, 36500))
    .option('--out <file>', 'write the clientpack there (mode 0600) instead of standard output')
    .option('--force', 'replace that file if it exists')
    .addHelpText('after', example('overmesh client rekey web --out web.ovpn --force'))
    .action(async (name: string, options: PackOptions & { days?: number }, command: Command) => {
      const context = Context.of(command)
      const { client: rekeyed } = await deliver(
        context,
        options,
        `client ${name} has a new key: get its pack with \`overmesh client pack ${name} --out FILE\``,
        service => service.rekeyClient(name, options.days),
      )
      context.output.note(`client ${name} has a new key${formatStored(rekeyed.storedOn)}`)
    })
}

/** Makes a pack and writes it to the file asked for, else to standard output; with --json as part of the document. */
async function deliver(
  context: Context,
  options: PackOptions,
  again: string,
  make: (service: ControllerService) => Promise<Pack>,
): Promise<Pack> {
  const out = outputPath(options)
  const produce = () => context.withService(make)
  const pack =
    out === undefined ? await produce() : await intoFile(out, options.force === true, again, produce)
  const { output } = context
  if (out === undefined) output.ifLost(again)
  if (output.json) {
    output.result(packDocument(pack, out), () => {})
  } else if (out === undefined) {
    output.write(pack.content)
  } else {
    output.note(`wrote ${out}; it holds a private key, hand it over safely`)
  }
  return pack
}

/** The client, and its pack: where it is, or the pack itself (text, or base64 where it is binary). */
function packDocument(pack: Pack, out: string | undefined) {
  const encoding = pack.format === 'ovpn' ? 'utf8' : 'base64'
  const content = out === undefined ? Buffer.from(pack.content).toString(encoding) : null
  return {
    ...pack.client,
    pack: { format: pack.format, fileName: pack.fileName, file: out ?? null, encoding, content },
  }
}

function clientState(client: Client): string {
  if (client.revoked) return 'revoked'
  if (!client.enabled) return 'disabled'
  if (client.issuerRemoved) return 'issuer removed'
  return client.session ? 'connected' : 'away'
}

function tagText(client: Client): string {
  return Object.entries(client.tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
}

/** Characters: as many as a revocation has room for. */
const MAX_REASON = 200

function readReason(text: string): string {
  if (text.length > MAX_REASON)
    throw new UsageError(`--reason is longer than the ${MAX_REASON} characters that are kept; write less`)
  return text
}
