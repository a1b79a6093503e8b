// overmesh webhook …: who is told of events as they happen.
import type { Command } from 'commander'
import { MAX_WEBHOOK_NAME, MAX_WEBHOOK_TYPES, MAX_WEBHOOK_URL, type Webhook } from '../service-webhooks.ts'
import { readName, repeated } from './arguments.ts'
import { Context } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { readEventType } from './events.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { readSecret } from './secret.ts'
import { formatStored } from './text.ts'

interface AddOptions {
  url?: string
  urlFile?: string
  event?: string[]
  secretFile?: string
}

const NAME = readName('webhook', MAX_WEBHOOK_NAME)

export function webhookCommands(program: Command): void {
  const webhook = program
    .command('webhook')
    .description('who is told of events, by HTTP, from the whole mesh')
  webhook
    .command('add')
    .description('send events there from now on, each from one controller')
    .argument('<name>', 'name of the webhook', NAME)
    .option(
      '--url <url>',
      'where they are sent by POST: http or https; other users of this machine can see it meanwhile',
      text => readUrl(text, '--url'),
    )
    .option('--url-file <file>', 'instead: its first line is the address; - for standard input')
    .option(
      '--event <type>',
      'type of event, such as session-up or session-*; repeat for more (default: clients, controllers, attachments up ' +
        'and down, conflicts)',
      repeated('--event', readEventType('--event'), MAX_WEBHOOK_TYPES),
    )
    .option('--secret-file <file>', 'its first line signs each request; - for standard input')
    .addHelpText('after', example("overmesh webhook add chat --url-file chat.url --event 'controller-*'"))
    .action(async (name: string, options: AddOptions, command: Command) => {
      const { event: types, secretFile } = options
      const context = Context.of(command)
      const url = await addressOf(options)
      const secret = secretFile === undefined ? undefined : await readSecret(secretFile, 'the secret')
      const change = await context.withService(service =>
        service.addWebhook({ name, url, ...(types && { types }), ...(secret && { secret }) }),
      )
      context.output.result(change, () => {
        const { url: shown, types: sent, signed } = change.webhook
        const how = signed ? 'signed' : 'not signed: anyone could send the like'
        context.output.line(
          `${name}: ${sent.join(', ')} go to ${shown}, ${how}${formatStored(change.storedOn)}`,
        )
        context.output.note(`next: \`overmesh webhook test ${name}\` tries it`)
      })
    })
  webhook
    .command('list')
    .description('webhooks, and what this controller has delivered to them since it started')
    .addHelpText('after', example('overmesh webhook list'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const webhooks = await context.withService(service => service.webhooks())
      context.output.result(webhooks, () => context.output.table(COLUMNS, webhooks, 'there is no webhook'))
    })
  webhook
    .command('remove')
    .description('send nothing there any more; what waits is given up')
    .argument('<name>', 'its name', NAME)
    .addHelpText('after', example('overmesh webhook remove chat'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const change = await context.withService(service => service.removeWebhook(name))
      context.output.result(change, () =>
        context.output.line(`${name} is told nothing any more${formatStored(change.storedOn)}`),
      )
    })
  webhook
    .command('test')
    .description('send a test from this controller, once')
    .argument('<name>', 'its name', NAME)
    .addHelpText('after', example('overmesh webhook test chat'))
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = Context.of(command)
      const remote = await context.needRunning()
      const result = await remote.testWebhook(name)
      const { delivered, status, ms, problem } = result
      context.output.result(result, () => {
        if (delivered) context.output.line(`${name} took the test: ${status} after ${Math.round(ms)} ms`)
      })
      if (!delivered) throw new CommandError(`${name} did not take the test: it ${problem}`)
    })
}

/** Many an address is a secret. @throws UsageError */
async function addressOf({ url, urlFile, secretFile }: AddOptions): Promise<string> {
  if (url !== undefined && urlFile !== undefined)
    throw new UsageError('--url and --url-file both say where; give one of them')
  if (url !== undefined) return url
  if (urlFile === undefined)
    throw new UsageError('webhook add: say where by --url-file FILE, or by --url where that is no secret')
  if (urlFile === '-' && secretFile === '-')
    throw new UsageError('the address and the secret cannot both come from standard input')
  return readUrl((await readSecret(urlFile, 'the address')).trim(), `what ${urlFile} has`)
}

function readUrl(text: string, what: string): string {
  if (text !== '' && text.length <= MAX_WEBHOOK_URL) return text
  throw new UsageError(
    `${what} is ${text === '' ? 'empty' : `longer than ${MAX_WEBHOOK_URL} characters`}; write it as https://HOST/PATH`,
  )
}

const COLUMNS: Column<Webhook>[] = [
  { title: 'WEBHOOK', value: each => each.name },
  { title: 'URL', value: each => each.url },
  { title: 'EVENTS', value: each => someOf(each.types) },
  { title: 'SIGNED', value: each => (each.signed ? 'yes' : 'no') },
  { title: 'DELIVERED', value: each => figure(each.delivery?.delivered) },
  { title: 'WAITING', value: each => figure(each.delivery?.waiting) },
  { title: 'LOST', value: each => figure(each.delivery && each.delivery.failed + each.delivery.dropped) },
  { title: 'PROBLEM', value: each => each.delivery?.problem ?? '-' },
]

/** As many as leave room for the problem; all of them are in --json. */
function someOf(types: readonly string[], most = 3): string {
  const more = types.length - most
  return types.slice(0, most).join(',') + (more > 0 ? ` and ${more} more` : '')
}

function figure(value: number | null | undefined): string {
  return value == null ? '-' : String(value)
}
