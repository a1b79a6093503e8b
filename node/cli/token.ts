// overmesh token …: who may use the API over TCP.
import type { Command } from 'commander'
import { DEFAULT_TOKEN_SECONDS, MAX_TOKEN_SECONDS, type Token, type TokenScope } from '../service-tokens.ts'
import { readChoice, readDuration, readName } from './arguments.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { intoFile, outputPath } from './output-file.ts'
import { formatExpiry, formatStored } from './text.ts'

const SCOPES: readonly TokenScope[] = ['read', 'operate', 'admin']

interface AddOptions {
  scope: TokenScope
  ttl: number
  out?: string
  force?: boolean
}

export function tokenCommands(program: Command): void {
  const token = program.command('token').description('who may use the API over TCP, on every controller')
  token
    .command('add')
    .description('make a token; its secret is shown this once')
    .argument('<name>', 'name of whoever uses it', readName('token'))
    .requiredOption(
      '--scope <scope>',
      'read: look; operate: also kick, disable, drain, routes, DNS; admin: everything, keys and tokens included',
      readChoice('--scope', SCOPES),
    )
    .option(
      '--ttl <duration>',
      `how long it is good, such as 1h or 30d (default: ${DEFAULT_TOKEN_SECONDS / 86_400}d)`,
      readDuration('--ttl', MAX_TOKEN_SECONDS),
    )
    .option('--out <file>', 'write the token there (mode 0600) instead of printing it')
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', example('overmesh token add grafana --scope read --out grafana.token'))
    .action(async (name: string, options: AddOptions, command: Command) => {
      const { scope, ttl } = options
      const out = outputPath(options)
      const context = Context.of(command)
      const { output } = context
      const again = `make another after \`overmesh token revoke ${name}\``
      const make = () => context.withService(service => service.addToken({ name, scope, ttlSeconds: ttl }))
      const { secret, ...made } = await (out === undefined
        ? make()
        : intoFile(out, options.force === true, again, async () => {
            const result = await make()
            return { ...result, content: Buffer.from(`${result.secret}\n`) }
          }))
      if (out === undefined) output.ifLost(again)
      const shown = out === undefined ? { secret } : { file: out }
      output.result({ token: made.token, storedOn: made.storedOn, ...shown }, () => {
        output.note(
          `${name} may ${scope === 'read' ? 'read' : scope === 'operate' ? 'read and operate' : 'do everything'} until ` +
            `${formatExpiry(made.token.expiresAt)}${formatStored(made.storedOn)}; the secret is not shown again`,
        )
        output.line(out === undefined ? secret : `wrote ${out}`)
      })
    })
  token
    .command('list')
    .description('tokens that are good, and those that ended not long ago')
    .addHelpText('after', example('overmesh token list'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const tokens = await context.withService(service => service.tokens())
      context.output.result(tokens, () => context.output.table(COLUMNS, tokens, 'there is no token'))
    })
  token
    .command('revoke')
    .description('end a token on every controller, at once and for good')
    .argument('<name>', 'its name, or its id', readName('token'))
    .addHelpText('after', example('overmesh token revoke grafana'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const revoked = await context.withService(service => service.revokeToken(name))
      context.output.result(revoked, () =>
        context.output.line(`${name} is good no more${formatStored(revoked.storedOn)}`),
      )
    })
}

const STYLE = { good: 'green', expired: 'dim', revoked: 'red', void: 'red' } as const

const COLUMNS: Column<Token>[] = [
  { title: 'TOKEN', value: token => token.name },
  { title: 'ID', value: token => token.id },
  { title: 'SCOPE', value: token => token.scope },
  { title: 'STATE', value: token => token.state, style: token => STYLE[token.state] },
  { title: 'MADE BY', value: token => token.createdBy },
  { title: 'UNTIL', value: token => formatExpiry(token.expiresAt) },
]
