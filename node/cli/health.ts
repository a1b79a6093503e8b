// overmesh health: whether clients can connect, as an exit status.
import type { Command } from 'commander'
import { Context } from './context.ts'
import { example } from './help.ts'
import { printable } from './text.ts'

export function healthCommand(program: Command): void {
  program
    .command('health')
    .description('whether clients can connect to this controller, and why not; exit status 0 or 1')
    .option('--alive', 'whether the controller lives, drained or not')
    .addHelpText('after', example('overmesh health && echo ready'))
    .action(async ({ alive = false }: { alive?: boolean }, command: Command) => {
      const context = Context.of(command)
      const remote = await context.reach()
      const problems = [`no controller is running on ${context.place}`]
      const health = (await remote?.health()) ?? { alive: false, ready: false, problems }
      context.output.result(health, () => {
        const word = health.ready ? 'ready' : health.alive ? 'alive, not ready' : 'not alive'
        context.output.line(
          context.output.paint(health.ready ? 'green' : health.alive ? 'yellow' : 'red', word),
        )
        for (const problem of health.problems) context.output.line(printable(problem))
      })
      if (!(alive ? health.alive : health.ready)) process.exitCode = 1
    })
}
