// overmesh client reissue: new credentials for all clients of one controller, after it was removed.
import type { Command } from 'commander'
import { Context } from './context.ts'
import { CommandError } from './errors.ts'
import { example } from './help.ts'
import { checkDirectory, PackDirectory } from './pack-directory.ts'

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
      checkDirectory('--out-dir', outDir)
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
        const directory = await PackDirectory.open(outDir, names, force)
        await directory.begin()
        // One after the other, so that whatever stops it can be put right and the rest done by the same command.
        for (const name of names) {
          const again = `make one with \`overmesh client rekey ${name}\`, its old credential is no longer good`
          await directory.write(name, again, () => service.rekeyClient(name))
        }
        const done = [...(await directory.finish(service)), ...names]
        return done.map(name => ({ client: name, file: directory.fileOf(name) }))
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
