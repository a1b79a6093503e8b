// overmesh invite: a token with which one machine becomes a controller.
import type { Command } from 'commander'
import { readDuration } from './arguments.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import { formatDuration } from './text.ts'

const MAX_TTL_SECONDS = 30 * 86_400

export function inviteCommand(program: Command): void {
  program
    .command('invite')
    .description('print a one-time token with which a machine joins the mesh as a controller')
    .option(
      '--ttl <duration>',
      'how long it is good, such as 30m, 1h or 2d',
      readDuration('--ttl', MAX_TTL_SECONDS),
      3600,
    )
    .addHelpText('after', example('overmesh invite --ttl 1h'))
    .action(async ({ ttl }: { ttl: number }, command: Command) => {
      const context = Context.of(command)
      const { output } = context
      const { invitation, running } = await context.withService(async service => ({
        invitation: await service.invite(ttl),
        running: service.running,
      }))
      output.result(invitation, () => {
        output.note(
          `good once, for ${formatDuration(ttl)}, at ${invitation.endpoints.join(' or ')} (TCP); whoever has it ` +
            'becomes a controller: hand it over safely',
        )
        if (!running)
          output.note('no controller is running here: start it with `overmesh up` before the other joins')
        output.note('there: overmesh join TOKEN && overmesh up')
        output.line(invitation.token)
      })
    })
}
