// overmesh state: the replica's records, and whether they are what they should be.
import type { Command } from 'commander'
import type { StateRecord } from '../service.ts'
import { Context } from './context.ts'
import { CommandError } from './errors.ts'
import { example } from './help.ts'
import type { Column } from './output.ts'
import { printable } from './text.ts'

/** Characters of a value in the table. */
const MAX_VALUE = 100

export function stateCommands(program: Command): void {
  const state = program
    .command('state')
    .description('the records of the replica')
    .option('--kind <kind>', 'only records of this kind')
    .addHelpText('after', example('overmesh state --kind client'))
    .action(async (options: { kind?: string }, command: Command) => {
      const context = Context.of(command)
      const records = await context.withService(service => service.records(options.kind))
      context.output.result(records, () => context.output.table(COLUMNS, records, 'no such records'))
    })
  state
    .command('verify')
    .description("check the replica against its own checksums and its peers' hashes")
    .addHelpText('after', example('overmesh state verify'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const { output } = context
      const result = await context.withService(service => service.verify(), { says: true })
      output.result(result, () => {
        output.line(`${result.records} records, state ${result.stateHash}`)
        for (const peer of result.peers) {
          const verdict = peer.equal ? output.paint('green', 'equal') : output.paint('yellow', 'different')
          output.line(`${printable(peer.name)}: ${verdict} (${printable(peer.stateHash)})`)
        }
        for (const problem of result.problems)
          output.line(`${output.paint('red', 'problem:')} ${printable(problem)}`)
        if (result.ok) output.line(output.paint('green', 'good'))
      })
      if (!result.ok) {
        throw new CommandError(
          `the replica has ${result.problems.length} problem(s); see \`overmesh state verify\``,
        )
      }
    })
}

const COLUMNS: Column<StateRecord>[] = [
  { title: 'KIND', value: record => record.kind },
  { title: 'ID', value: record => record.id },
  { title: 'STAMP', value: record => record.stamp },
  { title: 'AUTHOR', value: record => record.author },
  {
    title: 'SEQUENCE',
    value: record => `${printable(record.incarnation).slice(0, 8)}/${record.sequence}`,
    align: 'right',
  },
  {
    title: 'VALUE',
    value: record => {
      const text = shortened(JSON.stringify(record.value))
      return record.understood === 'nothing' ? `of a newer version, not acted on: ${text}` : text
    },
  },
]

/** Certificates and keys make a table unreadable; --json has all of it. */
function shortened(text: string): string {
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE)}…`
}
