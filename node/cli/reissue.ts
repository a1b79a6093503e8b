// overmesh client reissue: new credentials for all clients of one controller, after it was removed.
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { Context } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { example } from './help.ts'
import { intoFile } from './output-file.ts'

interface ReissueOptions {
  issuer: string
  outDir: string
  force?: boolean
}

export function reissueCommand(client: Command): void {
  client
    .command('reissue')
    .description('give every client whose credential a controller issued a new one, as after its removal')
    .requiredOption('--issuer <name>', 'controller that issued the present ones')
    .requiredOption('--out-dir <dir>', 'where the clientpacks go, each as NAME.ovpn (mode 0600)')
    .option('--force', 'replace files that exist')
    .addHelpText('after', example('overmesh client reissue --issuer berlin --out-dir packs'))
    .action(async ({ issuer, outDir, force = false }: ReissueOptions, command: Command) => {
      if (outDir === '') throw new UsageError('--out-dir is empty; give a directory')
      const context = Context.of(command)
      const written = await context.withService(async service => {
        const named = (await service.controllers(true)).filter(({ name }) => name === issuer)
        if (named.length === 0) {
          throw new CommandError(
            `no controller is or was named ${issuer}; see \`overmesh controller list --all\``,
          )
        }
        // Another may have that name now: what that one issued is good.
        const wasRemoved = named.some(({ removedAt }) => removedAt !== null)
        const names = (await service.clients())
          .filter(each => !each.revoked && each.issuer === issuer && each.issuerRemoved === wasRemoved)
          .map(({ name }) => name)
        if (names.length > 0) await mkdir(outDir, { recursive: true, mode: 0o700 })
        if (!force) await refuseExisting(names.map(name => join(outDir, `${name}.ovpn`)))
        const files: { client: string; file: string }[] = []
        // One after the other, so that whatever stops it can be put right and the rest done by the same command.
        for (const name of names) {
          const file = join(outDir, `${name}.ovpn`)
          const again = `make one with \`overmesh client rekey ${name}\`, its old credential is no longer good`
          await intoFile(file, force, again, () => service.rekeyClient(name))
          files.push({ client: name, file })
        }
        return files
      })
      context.output.result(written, () => {
        for (const { client: owner, file } of written) context.output.line(`${owner}  ${file}`)
        context.output.note(
          written.length === 0
            ? `no client has a credential that ${issuer} issued`
            : 'their old credentials are no longer good; the packs hold private keys, hand them over safely',
        )
      })
    })
}

/** Before the first credential is replaced. @throws CommandError */
async function refuseExisting(files: readonly string[]): Promise<void> {
  for (const file of files) {
    if (await stat(file).catch(() => undefined)) {
      throw new CommandError(
        `${file} exists, so nothing was done; choose another directory, or replace files with --force`,
      )
    }
  }
}
