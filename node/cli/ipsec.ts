// overmesh ipsec …: sites that are reached by IPsec.
import type { Command } from 'commander'
import { SECRET_PLACE, withSecret } from '../ipsec/export.ts'
import type {
  AddAttachment,
  AttachmentDetail,
  AttachmentEntry,
  ExportFormat,
  IkeSaEntry,
} from '../service-ipsec.ts'
import { readChoice, readCidr, readInteger, readName } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import { readStart } from './input.ts'
import type { Column, Output } from './output.ts'
import { intoFile, outputPath } from './output-file.ts'
import { withoutMark } from './secret.ts'
import { formatBytes, formatDuration, formatSince, formatStored, oneLine, printable } from './text.ts'

/** Of a file with a secret or a certificate, bytes. */
const MAX_FILE = 16_384

interface Options {
  remote?: string
  pskFile?: string
  caFile?: string
  localTs?: string[]
  remoteTs?: string[]
  localId?: string
  remoteId?: string
  ike?: number
  ikeProposal?: string[]
  espProposal?: string[]
  dpd?: number
  ikeLifetime?: number
  lifetime?: number
  initiate?: boolean
  natT?: 'auto' | 'always'
  controllers?: string[]
}

export function ipsecCommands(program: Command): void {
  const ipsec = program
    .command('ipsec')
    .description('sites with IPsec routers, reached through any controller')
  addCommand(ipsec)
  setCommand(ipsec)
  listCommand(ipsec)
  showCommand(ipsec)
  for (const [name, words] of [
    ['up', 'enable an attachment, and dial it where this mesh is to dial'],
    ['down', 'end an attachment on every controller, until `ipsec up`'],
  ] as const)
    switchCommand(ipsec, name, words)
  removeCommand(ipsec)
  exportCommand(ipsec)
}

function settings(command: Command): Command {
  const subnet =
    (option: string) =>
    (text: string, all: string[] = []) => [...all, readCidr(option)(text)]
  const word =
    (option: string) =>
    (text: string, all: string[] = []) => {
      const words = text.split(',').map(each => each.trim())
      if (words.includes('')) throw new UsageError(`${option}: '${text}' has an empty entry; write A or A,B`)
      return [...all, ...words]
    }
  return command
    .option('--psk-file <file>', 'file with the pre-shared key, one line; - reads standard input')
    .option('--ca-file <file>', 'the site has a certificate; the authority that signed it, PEM')
    .option('--local-id <id>', 'identity of the controllers (default: the name of the mesh)')
    .option('--remote-id <id>', "identity of the site's device (default: the attachment's name)")
    .option('--ike <version>', '2, or 1 for a device that has nothing else', readInteger('--ike', 1, 2))
    .option(
      '--ike-proposal <algorithms>',
      'such as aes256gcm16-prfsha384-ecp384; may be repeated',
      word('--ike-proposal'),
    )
    .option(
      '--esp-proposal <algorithms>',
      'such as aes256gcm16-ecp384; may be repeated',
      word('--esp-proposal'),
    )
    .option(
      '--dpd <seconds>',
      'ask whether the device lives; 0 never (default: 10)',
      readInteger('--dpd', 0, 3600),
    )
    .option(
      '--ike-lifetime <seconds>',
      'of IKE keys (default: 14400)',
      readInteger('--ike-lifetime', 60, 2_592_000),
    )
    .option('--lifetime <seconds>', 'of ESP keys (default: 3600)', readInteger('--lifetime', 30, 2_592_000))
    .option(
      '--nat-t <when>',
      'NAT traversal, ESP in UDP: auto, where a NAT is between, or always (default: auto)',
      readChoice('--nat-t', ['auto', 'always']),
    )
    .option('--initiate', 'a controller dials the site; otherwise the site dials')
    .option(
      '--controllers <names>',
      'who may dial it, the best first; without --initiate, whom it dials first: A,B (default: all)',
      word('--controllers'),
    )
    .option(
      '--local-ts <cidr>',
      'what the site reaches; may be repeated (default: the overlay)',
      subnet('--local-ts'),
    )
    .option('--remote-ts <cidr>', 'network at the site; may be repeated', subnet('--remote-ts'))
}

function addCommand(ipsec: Command): void {
  settings(
    ipsec
      .command('add')
      .description('attach a site')
      .argument('<name>', 'name of the attachment', readName('attachment'))
      .requiredOption(
        '--remote <address>',
        'address or host name of its device; any: it dials in from anywhere',
      ),
  )
    .addHelpText(
      'after',
      example(
        'overmesh ipsec add paris --remote 198.51.100.7 --psk-file paris.psk --local-ts 10.77.0.0/16 --remote-ts 192.168.20.0/24 --initiate',
      ),
    )
    .action(async (name: string, _options: unknown, command: Command) => {
      const options = command.opts<Options>()
      if (!options.remoteTs)
        throw new UsageError(
          'ipsec add: name the networks at the site with --remote-ts, such as 192.168.20.0/24',
        )
      if (!options.pskFile && !options.caFile)
        throw new UsageError(
          'ipsec add: say how the site proves itself, with --psk-file FILE or --ca-file FILE',
        )
      const context = Context.of(command)
      const change = requestOf(options)
      const detail = await context.withService(async service => {
        const localSubnets = change.localSubnets ?? [(await service.status()).mesh.subnet]
        return service.addAttachment({ ...change, name, localSubnets } as AddAttachment)
      })
      context.output.result(detail, () => printWritten(context.output, detail, 'added'))
    })
}

function setCommand(ipsec: Command): void {
  settings(
    ipsec
      .command('set')
      .description('change an attachment; what is not named stays')
      .argument('<name>', 'attachment')
      .option('--remote <address>', 'address or host name of its device; any: it dials in from anywhere'),
  )
    .option('--no-initiate', 'the site dials')
    .addHelpText('after', example('overmesh ipsec set paris --psk-file new.psk'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const change = requestOf(command.opts<Options>())
      if (Object.keys(change).length === 0)
        throw new UsageError('ipsec set: name what is to change; see `overmesh help ipsec set`')
      const context = Context.of(command)
      const detail = await context.withService(service => service.changeAttachment(name, change))
      context.output.result(detail, () => printWritten(context.output, detail, 'changed'))
    })
}

function listCommand(ipsec: Command): void {
  ipsec
    .command('list')
    .description('all attachments')
    .addHelpText('after', example('overmesh ipsec list'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const [attachments, daemon] = await context.withService(service =>
        // A running controller of an older version does not say.
        Promise.all([service.attachments(), service.ikeDaemon().catch(() => undefined)]),
      )
      context.output.result(attachments, () => {
        context.output.table(
          ATTACHMENT_COLUMNS,
          attachments,
          'no attachments; `overmesh ipsec add` makes one',
        )
        const problem = daemon?.problem ?? null
        if (attachments.length > 0 && problem !== null)
          context.output.line(`no IKE daemon here: ${oneLine(problem)}`)
      })
    })
}

function showCommand(ipsec: Command): void {
  ipsec
    .command('show')
    .description('one attachment, with its security associations')
    .argument('<name>', 'attachment')
    .addHelpText('after', example('overmesh ipsec show paris'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const detail = await context.withService(service => service.attachment(name))
      context.output.result(detail, () => printDetail(context.output, detail))
    })
}

function switchCommand(ipsec: Command, name: 'up' | 'down', words: string): void {
  ipsec
    .command(name)
    .description(words)
    .argument('<name>', 'attachment')
    .addHelpText('after', example(`overmesh ipsec ${name} paris`))
    .action(async (attachment: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const detail = await context.withService(service =>
        name === 'up' ? service.attachmentUp(attachment) : service.attachmentDown(attachment),
      )
      context.output.result(detail, () =>
        context.output.line(`${detail.name}: ${stateText(detail)}${formatStored(detail.storedOn)}`),
      )
    })
}

function removeCommand(ipsec: Command): void {
  ipsec
    .command('remove')
    .description('remove an attachment and its secret for good')
    .argument('<name>', 'attachment')
    .addHelpText('after', example('overmesh ipsec remove paris'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const removed = await context.withService(service => service.removeAttachment(name))
      context.output.result(removed, () =>
        context.output.line(`${removed.name} removed${formatStored(removed.storedOn)}`),
      )
    })
}

function exportCommand(ipsec: Command): void {
  ipsec
    .command('export')
    .description("what the site's device has to be told")
    .argument('<name>', 'attachment')
    .option(
      '--format <format>',
      'strongswan (swanctl.conf), or sheet: parameters for other devices',
      readFormat,
      'strongswan',
    )
    .option('--psk-file <file>', 'put this pre-shared key in its place; it does not leave this machine')
    .option('--out <file>', 'write to a file, mode 0600, instead of standard output')
    .option('--force', 'replace that file if it exists')
    .addHelpText(
      'after',
      example('overmesh ipsec export paris --psk-file paris.psk --out overmesh-paris.conf'),
    )
    .action(
      async (
        name: string,
        options: { format: ExportFormat; pskFile?: string; out?: string; force?: boolean },
        command: Command,
      ) => {
        const context = Context.of(command)
        const out = outputPath(options)
        const exported = await context.withService(service => service.exportAttachment(name, options.format))
        const secret = options.pskFile === undefined ? undefined : readSecretFile(options.pskFile)
        if (secret !== undefined && !exported.content.includes(SECRET_PLACE))
          throw new UsageError(
            'ipsec export: there is no place for a pre-shared key in it; leave --psk-file out',
          )
        const content = secret === undefined ? exported.content : withSecret(exported.content, secret)
        if (out === undefined) {
          context.output.result({ ...exported, content }, () => context.output.line(content.trimEnd()))
          return
        }
        await intoFile(out, options.force === true, 'run it again', async () => ({
          content: Buffer.from(content),
        }))
        context.output.result({ fileName: out }, () => context.output.line(`written to ${out}`))
      },
    )
}

export const ATTACHMENT_COLUMNS: Column<AttachmentEntry>[] = [
  { title: 'NAME', value: each => each.name },
  { title: 'REMOTE', value: each => each.remote },
  { title: 'NETWORKS', value: each => each.remoteSubnets.join(' ') },
  { title: 'DIALS', value: each => (each.initiate ? 'controller' : 'site') },
  { title: 'CONTROLLER', value: each => each.controller ?? '' },
  { title: 'SINCE', value: each => formatSince(each.since) },
  {
    title: 'STATE',
    value: stateText,
    style: ({ state }) => (state === 'up' ? 'green' : state === 'disabled' ? 'dim' : 'red'),
  },
]

function stateText({ state, problem, controller }: AttachmentEntry): string {
  if (state === 'up') return controller === null ? 'up' : `up on ${controller}`
  return problem === null || state === 'disabled' ? state : `${state}: ${oneLine(problem.text)}`
}

function printWritten(output: Output, detail: AttachmentDetail, what: string): void {
  const dials = detail.initiate
    ? 'a controller dials it'
    : '`overmesh ipsec export` tells the site what it needs'
  output.line(`${detail.name} ${what}${formatStored(detail.storedOn)}; ${dials}`)
  for (const note of detail.notes ?? []) output.line(printable(note))
}

function printDetail(output: Output, detail: AttachmentDetail): void {
  const { engine, problem } = detail
  output.facts([
    ['attachment', detail.name],
    ['state', stateText(detail)],
    ['since', detail.since === null ? '-' : `${detail.since} (${formatSince(detail.since)})`],
    [
      'last problem',
      problem === null
        ? 'none'
        : `${oneLine(problem.text)} (${formatSince(problem.at)} ago, seen by ${problem.controller})`,
    ],
    ['remote', `${detail.remote}, ${detail.initiate ? 'dialled by a controller' : 'dials in'}`],
    ['proves itself by', detail.authentication === 'psk' ? 'pre-shared key' : 'certificate'],
    [
      'identities',
      `controllers ${detail.localId ?? 'by certificate'}, site ${detail.remoteId ?? 'by certificate'}`,
    ],
    ['networks', `${detail.remoteSubnets.join(' ')} there, ${detail.localSubnets.join(' ')} here`],
    [
      'IKE',
      `version ${detail.ikeVersion}, ${listOr(detail.ikeProposals, 'default proposals')}, ${detail.ikeLifetimeSeconds} s`,
    ],
    ['ESP', `${listOr(detail.espProposals, 'default proposals')}, ${detail.childLifetimeSeconds} s`],
    ['dead peer detection', detail.dpdSeconds === 0 ? 'off' : `${detail.dpdSeconds} s`],
    ['NAT traversal', detail.natTraversal === 'always' ? 'always' : 'where a NAT is between'],
    ['preferred', listOr(detail.controllers, 'any controller')],
    [
      'IKE daemon here',
      engine.problem ??
        `${engine.state}${engine.esp === null ? '' : `, ESP by the ${engine.esp === 'user' ? 'daemon' : 'kernel'}`}`,
    ],
  ])
  for (const note of detail.notes ?? []) output.line(printable(note))
  for (const sa of detail.sas) printSa(output, sa)
  if (detail.sas.length === 0 && detail.state === 'up')
    output.line(`its security associations are on ${detail.controller}, which does not answer now`)
}

function printSa(output: Output, sa: IkeSaEntry): void {
  output.line()
  output.facts([
    [
      'IKE SA',
      `${sa.state}, version ${sa.version}, ${sa.initiator ? 'dialled from here' : 'dialled by the site'}${sa.nat ? ', NAT traversal' : ''}`,
    ],
    [
      'between',
      `${sa.localHost} (${printable(sa.localId)}) and ${sa.remoteHost} (${printable(sa.remoteId)})`,
    ],
    ['algorithms', sa.encryption],
    ['age', `${times(sa.ageSeconds)}, rekeyed in ${times(sa.rekeySeconds)}`],
  ])
  for (const child of sa.children)
    output.facts([
      ['  child SA', `${child.state}, SPI ${child.spiIn} in, ${child.spiOut} out`],
      ['  networks', `${child.remoteSubnets.join(' ')} there, ${child.localSubnets.join(' ')} here`],
      ['  algorithms', child.encryption],
      ['  in', `${formatBytes(child.bytesIn)}, ${child.packetsIn} packets`],
      ['  out', `${formatBytes(child.bytesOut)}, ${child.packetsOut} packets`],
      ['  age', `${times(child.ageSeconds)}, rekeyed in ${times(child.rekeySeconds)}`],
    ])
}

const times = (seconds: number | undefined): string => (seconds === undefined ? '-' : formatDuration(seconds))
const listOr = (all: readonly string[], otherwise: string): string =>
  all.length === 0 ? otherwise : all.join(' ')

function requestOf(options: Options): Partial<AddAttachment> {
  const { pskFile, caFile } = options
  const request: Partial<AddAttachment> = {
    remote: options.remote,
    secret: pskFile === undefined ? undefined : readSecretFile(pskFile).toString('base64'),
    authority: caFile === undefined ? undefined : readFile(caFile, 'certificate').toString('utf8'),
    localSubnets: options.localTs,
    remoteSubnets: options.remoteTs,
    localId: options.localId,
    remoteId: options.remoteId,
    ikeVersion: options.ike as 1 | 2 | undefined,
    ikeProposals: options.ikeProposal,
    espProposals: options.espProposal,
    dpdSeconds: options.dpd,
    ikeLifetimeSeconds: options.ikeLifetime,
    childLifetimeSeconds: options.lifetime,
    initiate: options.initiate,
    natTraversal: options.natT,
    controllers: options.controllers,
  }
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined))
}

/** Without the line feed at its end, and what may be before text. */
function readSecretFile(path: string): Buffer {
  const bytes = withoutMark(readFile(path, 'pre-shared key'))
  const text = bytes.toString('latin1').replace(/\r?\n$/, '')
  if (text === '')
    throw new UsageError(`--psk-file ${path}: it is empty; put the pre-shared key there, on one line`)
  if (/[\r\n\0]/.test(text))
    throw new UsageError(`--psk-file ${path}: it has several lines; put the pre-shared key there as one line`)
  return Buffer.from(text, 'latin1')
}

function readFile(path: string, what: string): Buffer {
  let bytes: Buffer
  try {
    bytes = readStart(path, MAX_FILE + 1)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`${path}: cannot read the ${what} (${code ?? 'failed'}); name a file that is there`)
  }
  if (bytes.length > MAX_FILE) throw new UsageError(`${path}: too large for a ${what}`)
  return bytes
}

function readFormat(text: string): ExportFormat {
  if (text === 'strongswan' || text === 'sheet') return text
  throw new UsageError(`--format: '${text.slice(0, 40)}' is no format; use strongswan or sheet`)
}
