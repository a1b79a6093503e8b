// overmesh join: this machine becomes a controller of a mesh.
import type { Command } from 'commander'
import { Context } from './context.ts'
import { example } from './help.ts'
import { type ListenOptions, listenOptions, nameOfHost } from './listen-options.ts'
import { bothOf } from './text.ts'

export function joinCommand(program: Command): void {
  const command = program
    .command('join')
    .description('make this machine a controller of the mesh that the token is for')
    .argument('<token>', 'what `overmesh invite` printed')
  listenOptions(command)
    .addHelpText('after', example('overmesh join om1-… --controller berlin --public vpn2.example.net'))
    .action(async (token: string, options: ListenOptions, self: Command) => {
      const { dataDir, output } = Context.of(self)
      const { joinMesh } = await import('../join.ts')
      const controller = options.controller ?? nameOfHost()
      const { meshName, subnet, subnet6, ...joined } = await joinMesh({
        dataDir,
        token,
        controller,
        public: options.public ?? [],
        listen: options.listen ?? ['0.0.0.0:1194'],
        meshListen: options.meshListen,
        apiListen: options.apiListen,
        onProgress: doing => output.note(doing),
      })
      output.result({ name: meshName, subnet, subnet6, controller, dataDir, ...joined }, () => {
        output.line(`${controller} is a controller of mesh ${meshName} now, in ${dataDir}`)
        output.facts([
          ['subnet', bothOf(subnet, subnet6)],
          ['gateway', bothOf(joined.gateway, joined.gateway6)],
          ['controller', bothOf(joined.address, joined.address6)],
          ['clients dial', joined.public.join(' ')],
          ['records', String(joined.records)],
        ])
        output.note('next: `overmesh up` runs it')
      })
    })
}
