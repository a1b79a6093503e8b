// overmesh events: what happened, and what happens.
import type { Command } from 'commander'
import { MAX_PATTERNS, patternProblem } from '../event-types.ts'
import type { Event } from '../service.ts'
import { readInteger, repeated } from './arguments.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { followEvents } from './event-follower.ts'
import { example } from './help.ts'
import type { Output } from './output.ts'
import { untilInterrupted } from './signals.ts'
import { jsonText, printable } from './text.ts'

interface EventsOptions {
  follow?: boolean
  limit?: number
  type?: string[]
}

export function eventsCommand(program: Command): void {
  program
    .command('events')
    .description('what happened; with --follow, what happens from now on, too')
    .option('--follow', 'go on until interrupted, also when the controller starts anew')
    .option(
      '--limit <n>',
      'latest events to print (default: 1000, with --follow 10)',
      readInteger('--limit', 1, 1000),
    )
    .option(
      '--type <type>',
      'only events of this type, such as session-up or session-*; repeat for more',
      repeated('--type', readEventType('--type'), MAX_PATTERNS),
    )
    .addHelpText('after', example('overmesh events --follow'))
    .action(async ({ follow = false, limit, type: types }: EventsOptions, command: Command) => {
      const context = Context.of(command)
      const { output } = context
      if (!follow) {
        const events = await context.withService(service => service.events(limit, { types }))
        for (const event of events) printEvent(output, event)
        return
      }
      await context.needRunning()
      using interrupted = untilInterrupted()
      await followEvents({
        connect: () => context.reach(),
        backlog: limit ?? 10,
        types,
        signal: interrupted.signal,
        event: event => printEvent(output, event),
        // Also with --json: standard output has events only.
        note: text => process.stderr.write(`overmesh: ${printable(text)}\n`),
      })
    })
}

/** A type of event, or the beginning of some with `*`. */
export function readEventType(option: string) {
  return (text: string): string => {
    const problem = patternProblem(text)
    if (problem !== undefined) throw new UsageError(`${option}: ${problem}`)
    return text
  }
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
