// overmesh events: what happened, and what happens.
import type { Command } from 'commander'
import type { Event } from '../service.ts'
import { readInteger } from './arguments.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import type { Output } from './output.ts'
import { untilInterrupted } from './signals.ts'
import { jsonText, printable } from './text.ts'

export function eventsCommand(program: Command): void {
  program
    .command('events')
    .description('what happened; with --follow, what happens from now on, too')
    .option('--follow', 'go on until interrupted')
    .option(
      '--limit <n>',
      'latest events to print (default: 1000, with --follow 10)',
      readInteger('--limit', 1, 1000),
    )
    .addHelpText('after', example('overmesh events --follow'))
    .action(async (options: { follow?: boolean; limit?: number }, command: Command) => {
      const context = Context.of(command)
      const print = (event: Event) => printEvent(context.output, event)
      if (!options.follow) {
        const events = await context.withService(service => service.events(options.limit))
        for (const event of events) print(event)
        return
      }
      const remote = await context.needRunning()
      using interrupted = untilInterrupted()
      await remote.feed(print, { backlog: options.limit ?? 10, signal: interrupted.signal })
    })
}

/** One line: JSON with --json, otherwise `TIME TYPE` and the event's sentence, or its fields where it has none. */
function printEvent(output: Output, event: Event): void {
  if (output.json) {
    output.line(jsonText(event))
    return
  }
  const { seq: _seq, at, type, ...more } = event
  const details =
    'message' in more && typeof more.message === 'string'
      ? [more.message]
      : Object.entries(more).map(([key, value]) => `${key}=${plain(value)}`)
  output.line([at, output.paint('cyan', printable(type)), ...details.map(printable)].join('  '))
}

/** A value without quotes where it has no spaces. */
function plain(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)
}
