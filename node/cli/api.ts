// overmesh api …: the API of this controller over TCP.
import type { Command } from 'commander'
import type { ApiState, ChangeApi } from '../service-api.ts'
import { readListen, repeated } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Output } from './output.ts'
import { intoFile, outputPath } from './output-file.ts'
import { formatExpiry } from './text.ts'

interface EnableOptions {
  listen?: string[]
  name?: string[]
}

export function apiCommands(program: Command): void {
  const api = program
    .command('api')
    .description('the API of this controller over TCP: off unless it is enabled')
    .addHelpText('after', example('overmesh api'))
    .action((_options: unknown, command: Command) => show(command))
  api
    .command('show')
    .description('where it listens, and what its users trust')
    .addHelpText('after', example('overmesh api show'))
    .action((_options: unknown, command: Command) => show(command))
  api
    .command('enable')
    .description('listen on TCP from now on, by HTTPS and for those who have a token')
    .option(
      '--listen <host:port>',
      'where, in place of what was set; repeat for more',
      repeated('--listen', readListen('--listen'), 16),
    )
    .option(
      '--name <host>',
      'further name or address for its certificate; repeat for more',
      repeated('--name', text => text, 32),
    )
    .addHelpText('after', example('overmesh api enable --listen 0.0.0.0:8443'))
    .action(({ listen, name }: EnableOptions, command: Command) => {
      if (listen === undefined && name === undefined) {
        throw new UsageError('api enable: say where by --listen, such as --listen 0.0.0.0:8443')
      }
      return change(command, { listen, names: name })
    })
  api
    .command('disable')
    .description('listen on TCP no more; the unix socket of the data directory stays')
    .addHelpText('after', example('overmesh api disable'))
    .action((_options: unknown, command: Command) => change(command, { listen: [] }))
  api
    .command('ca')
    .description('print the certificate of the mesh root, which users of the API give as --ca')
    .option('--out <file>', 'write it there')
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', example('overmesh api ca --out mesh-ca.pem'))
    .action(async (options: { out?: string; force?: boolean }, command: Command) => {
      const context = Context.of(command)
      const out = outputPath(options)
      const produce = async () => {
        const state = await context.withService(service => service.api())
        return { ...state, content: Buffer.from(state.rootCertificate) }
      }
      const { rootCertificate, rootFingerprint } =
        out === undefined
          ? await produce()
          : await intoFile(out, options.force === true, 'run it again', produce)
      context.output.result(
        { rootCertificate, rootFingerprint, ...(out !== undefined && { file: out }) },
        () => {
          if (out === undefined) context.output.write(rootCertificate)
          else context.output.line(`wrote ${out}`)
          context.output.note(`its SHA-256 fingerprint is ${rootFingerprint}`)
        },
      )
    })
}

async function show(command: Command): Promise<void> {
  const context = Context.of(command)
  const { state, running } = await context.withService(async service => ({
    state: await service.api(),
    running: service.running,
  }))
  context.output.result(state, () => print(context.output, state, running))
}

async function change(command: Command, wanted: ChangeApi): Promise<void> {
  const context = Context.of(command)
  const { state, running } = await context.withService(async service => {
    const changed = await service.changeApi(wanted)
    return { state: changed, running: service.running }
  })
  context.output.result(state, () => {
    print(context.output, state, running)
    if (!running && state.listen.length > 0) {
      context.output.note('no controller is running here: it listens from the next `overmesh up` on')
    }
    if (state.listen.length > 0) {
      context.output.note(
        'next: `overmesh token add NAME --scope read` makes a token, `overmesh api ca --out FILE` the CA file',
      )
    }
  })
}

function print(output: Output, state: ApiState, running: boolean): void {
  const { listen, listening, names, certificate, rootFingerprint } = state
  output.facts([
    [
      'over TCP',
      listen.length > 0 || listening.length > 0 ? 'on' : 'off: only the unix socket of the data directory',
    ],
    ...(listen.length > 0 ? ([['set to', listen.join(' ')]] as [string, string][]) : []),
    ...(running && (listen.length > 0 || listening.length > 0)
      ? ([['listens on', listening.join(' ') || 'nothing: see `overmesh status`']] as [string, string][])
      : []),
    ...(names.length > 0 ? ([['further names', names.join(' ')]] as [string, string][]) : []),
    ...(certificate === null
      ? []
      : ([
          ['certificate', `until ${formatExpiry(certificate.expiresAt)}`],
          ['is for', certificate.names.join(' ')],
        ] as [string, string][])),
    ['mesh root', `SHA-256 ${rootFingerprint}`],
  ])
}
