// overmesh authority: the mesh root's key, moved off the machine and back.

import type { Command } from 'commander'
import { Context } from './context.ts'
import { UsageError } from './errors.ts'
import { example } from './help.ts'
import { readInput } from './input.ts'
import { intoFile, outputPath } from './output-file.ts'
import { newPassphrase, openBy, PASSPHRASE_FILE } from './passphrase.ts'

/** An encrypted EC key is under 1 kB. */
const MAX_PEM = 64 * 1024

export function authorityCommands(program: Command): void {
  const authority = program
    .command('authority')
    .description('the key of the mesh root, which admits controllers: keep it off the machine')
  authority
    .command('export')
    .description('write the key of the mesh root, protected by a passphrase')
    .option('--out <file>', 'write it there (mode 0600) instead of standard output')
    .option('--force', 'replace that file if it exists')
    .option('--passphrase-file <file>', PASSPHRASE_FILE)
    .addHelpText('after', example('overmesh authority export --out mesh-root.pem'))
    .action(async (options: { out?: string; force?: boolean; passphraseFile?: string }, command: Command) => {
      const context = Context.of(command)
      const out = outputPath(options)
      const passphrase = await newPassphrase(options.passphraseFile)
      const { exportAuthority } = await import('../authority.ts')
      const produce = async () => {
        const pem = await exportAuthority({ dataDir: context.dataDir, passphrase })
        return { pem, content: Buffer.from(pem) }
      }
      const { output } = context
      const { pem } =
        out === undefined
          ? await produce()
          : await intoFile(out, options.force === true, 'try again', produce)
      if (output.json) {
        output.result({ file: out ?? null, pem: out === undefined ? pem : null }, () => {})
        return
      }
      if (out === undefined) output.write(pem)
      else
        output.note(
          `wrote ${out}; once it is safe elsewhere, remove authority/root.key of ${context.dataDir}`,
        )
    })
  authority
    .command('import')
    .description('bring the key of the mesh root back')
    .argument('<file>', 'what `authority export` wrote (- reads standard input)')
    .option('--passphrase-file <file>', PASSPHRASE_FILE)
    .addHelpText('after', example('overmesh authority import mesh-root.pem'))
    .action(async (file: string, options: { passphraseFile?: string }, command: Command) => {
      const context = Context.of(command)
      if (file === '-' && options.passphraseFile === '-') {
        throw new UsageError('the key and the passphrase cannot both come from standard input')
      }
      const pem = await readInput(file, 'an exported key', MAX_PEM)
      const { importAuthority } = await import('../authority.ts')
      await openBy(options.passphraseFile, context.output, passphrase =>
        importAuthority({ dataDir: context.dataDir, pem, passphrase }),
      )
      context.output.result({ imported: true }, () =>
        context.output.line('the key of the mesh root is here again'),
      )
    })
}
