// The tree of commands, and how wrong usage is told.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { apiCommands } from './api.ts'
import { authorityCommands } from './authority.ts'
import { backupCommands } from './backup.ts'
import { captureCommand } from './capture.ts'
import { clientCommands } from './client.ts'
import { controllerCommands } from './controller.ts'
import { desiredCommands } from './desired.ts'
import { dnsCommands } from './dns.ts'
import { doctorCommand } from './doctor.ts'
import { drainCommand } from './drain.ts'
import { UsageError } from './errors.ts'
import { eventsCommand } from './events.ts'
import { healthCommand } from './health.ts'
import { initCommand } from './init.ts'
import { inviteCommand } from './invite.ts'
import { ipsecCommands } from './ipsec.ts'
import { joinCommand } from './join.ts'
import { metricsCommands } from './metrics.ts'
import { probeCommand } from './probe.ts'
import { routeCommands } from './route.ts'
import { stateCommands } from './state.ts'
import { statusCommands } from './status.ts'
import { tokenCommands } from './token.ts'
import { upCommand } from './up.ts'
import { webhookCommands } from './webhook.ts'

export function buildProgram(): Command {
  const program = new Command('overmesh')
    .description('An overlay network its owner controls.')
    .version(version(), '-V, --version', 'print the version')
    .option('--data <dir>', 'data directory (OVERMESH_DATA; /var/lib/overmesh as root, else ~/.overmesh)')
    .option('--api <url>', 'a controller elsewhere: https://HOST:PORT (OVERMESH_API)')
    .option('--token-file <file>', 'its first line is the token for --api (OVERMESH_TOKEN_FILE)')
    .option('--ca <file>', 'what `overmesh api ca` wrote there (OVERMESH_CA)')
    .option('--json', 'one JSON document on standard output, nothing else')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
  initCommand(program)
  upCommand(program)
  inviteCommand(program)
  joinCommand(program)
  controllerCommands(program)
  drainCommand(program)
  clientCommands(program)
  statusCommands(program)
  routeCommands(program)
  ipsecCommands(program)
  dnsCommands(program)
  eventsCommand(program)
  webhookCommands(program)
  captureCommand(program)
  healthCommand(program)
  metricsCommands(program)
  stateCommands(program)
  desiredCommands(program)
  probeCommand(program)
  doctorCommand(program)
  apiCommands(program)
  tokenCommands(program)
  authorityCommands(program)
  backupCommands(program)
  helpCommand(program)
  explainMisuse(program)
  return program
}

/** `help COMMAND…`: the same as `COMMAND --help`, to any depth. */
function helpCommand(program: Command): void {
  program
    .command('help [command...]')
    .description('show how a command is used, with an example to paste')
    .action((names: string[]) => {
      let command = program
      for (const name of names) {
        const next = command.commands.find(each => each.name() === name)
        if (next === undefined) {
          const known = command.commands.map(each => each.name()).join(', ') || 'nothing below it'
          throw new UsageError(`there is no command '${names.join(' ')}'; there is ${known}`)
        }
        command = next
      }
      command.outputHelp()
    })
}

/** Turns whatever commander finds wrong into one sentence that names the command to look up. */
function explainMisuse(command: Command, path: string[] = []): void {
  command.exitOverride((error: CommanderError) => {
    if (error.exitCode === 0) throw error
    const name = path.join(' ')
    if (error.code === 'commander.help') {
      const names = command.commands.map(each => each.name()).join(', ')
      if (path.length > 0) throw new UsageError(`${name} needs a sub-command: ${names}`)
      command.outputHelp()
      throw new CommanderError(0, error.code, error.message)
    }
    const message = error.message
      .replace(/^error: /, '')
      .replace(/\n\(Did you mean (.*?)\?\)$/s, '; did you mean $1?')
      .replace(/\.$/, '')
    throw new UsageError(
      `${message}${message.endsWith('?') ? ' See' : '; see'} \`overmesh help${name && ` ${name}`}\``,
    )
  })
  for (const child of command.commands) explainMisuse(child, [...path, child.name()])
}

/** From the nearest package.json, which is two directories up in a checkout and three up when compiled. */
function version(): string {
  for (
    let directory = import.meta.dirname;
    directory !== dirname(directory);
    directory = dirname(directory)
  ) {
    try {
      return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).version
    } catch {}
  }
  return 'unknown'
}
