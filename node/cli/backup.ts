// overmesh backup, restore: a controller as one encrypted file, and back.
import type { Command } from 'commander'
import type { Manifest } from '../backup/archive.ts'
import type { Relocation } from '../relocation.ts'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import { relocationOptions } from './listen-options.ts'
import type { Output } from './output.ts'
import { OutputFile } from './output-file.ts'
import { newPassphrase, openBy, PASSPHRASE_FILE } from './passphrase.ts'
import { formatBytes } from './text.ts'

interface PassphraseOption {
  passphraseFile?: string
}

export function backupCommands(program: Command): void {
  const backup = program
    .command('backup')
    .description(
      'write all that is needed to be this controller again into one encrypted file; it may be running',
    )
    .argument('[file]', 'the file to write (mode 0600)')
    .option('--passphrase-file <file>', PASSPHRASE_FILE)
    .option('--force', 'replace the file if it exists')
    .addHelpText('after', example('overmesh backup alpha.backup --passphrase-file pass'))
    .action(write)
  backup
    .command('show')
    .description('check a backup from its first byte to its last, and say what is in it')
    .argument('<file>', 'a backup')
    .option('--passphrase-file <file>', PASSPHRASE_FILE)
    .addHelpText('after', example('overmesh backup show alpha.backup --passphrase-file pass'))
    .action(show)
  relocationOptions(
    program
      .command('restore')
      .description(
        'make a data directory from a backup; the controller that it is of must not be running any more. Where it listens and is dialled stays as it was, but for what is given',
      )
      .argument('<file>', 'a backup')
      .option('--passphrase-file <file>', PASSPHRASE_FILE),
  )
    .addHelpText(
      'after',
      example('overmesh restore alpha.backup --passphrase-file pass --data /var/lib/overmesh'),
    )
    .action(restore)
}

async function write(file: string | undefined, _options: unknown, command: Command): Promise<void> {
  const { passphraseFile, force = false } = command.opts<PassphraseOption & { force?: boolean }>()
  if (!file) throw new UsageError('backup needs the name of a file to write; see `overmesh help backup`')
  const context = Context.of(command)
  const { readBackup } = await import('../backup/restore.ts')
  await OutputFile.refuseOccupied(file, force)
  const passphrase = await newPassphrase(passphraseFile)
  const output = await OutputFile.reserve(file, force)
  let written: Found
  try {
    await context.withService(async service => output.write(await service.backup(passphrase)))
    // It counts as written once it was read.
    written = await readBackup(output.temporary, passphrase)
    await output.place()
  } finally {
    await output.discard()
  }
  context.output.result({ file, ...described(written) }, () => {
    context.output.line(`wrote ${file}: ${inWords(written)}`)
    context.output.note(
      'it holds every key of this controller: without the passphrase it is of no use, to you either',
    )
  })
}

async function show(file: string, options: PassphraseOption, command: Command): Promise<void> {
  const { output } = Context.of(command)
  const passphraseFile = options.passphraseFile ?? command.parent?.opts<PassphraseOption>().passphraseFile
  const { readBackup } = await import('../backup/restore.ts')
  const found = await openBy(passphraseFile, output, passphrase => readBackup(file, passphrase))
  output.result({ file, ...described(found) }, () => print(output, found))
}

async function restore(
  file: string,
  options: PassphraseOption & Relocation,
  command: Command,
): Promise<void> {
  const { dataDir, output } = Context.of(command)
  const { restoreBackup } = await import('../backup/restore.ts')
  const { passphraseFile, ...relocation } = options
  const { manifest } = await openBy(passphraseFile, output, passphrase =>
    restoreBackup({ file, passphrase, dataDir, relocation }),
  )
  output.result({ file, dataDir, ...described(manifest) }, () => {
    output.line(
      `${manifest.controllerName} of mesh ${manifest.meshName} is in ${dataDir}, as of ${time(manifest)}`,
    )
    output.note(
      'next: `overmesh up` runs it; what changed since comes from the other controllers. If the controller that the backup ' +
        'is of still runs anywhere, stop that first',
    )
  })
}

type Found = Manifest & { bytes?: number; files?: number }

/** For --json. */
function described({ createdAt, incarnation: _, ...rest }: Found) {
  return { ...rest, createdAt: new Date(createdAt).toISOString() }
}

function inWords({ controllerName, meshName, records, bytes = 0 }: Found): string {
  return `controller ${controllerName} of mesh ${meshName}, ${records} records, ${formatBytes(bytes)}`
}

function print(output: Output, found: Found): void {
  output.facts([
    ['mesh', `${found.meshName} (${found.meshId}), ${found.subnet}`],
    ['controller', `${found.controllerName} (${found.controllerId})`],
    ['made', `${time(found)} by Overmesh ${found.version}`],
    ['records', `${found.records}, of ${found.controllers} controllers and ${found.clients} clients`],
    [
      'mesh root',
      found.holdsRootKey
        ? 'its key is in it: controllers can be invited after a restore'
        : 'its key is elsewhere',
    ],
    ['files', `${found.files}; ${formatBytes(found.bytes ?? 0)} in all`],
  ])
}

function time({ createdAt }: Manifest): string {
  return `${new Date(createdAt).toISOString().slice(0, 19)}Z`
}
