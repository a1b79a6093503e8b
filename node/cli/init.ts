// overmesh init: a new mesh and its first controller.
import type { Command } from 'commander'
import { once, readCidr, readCidr6, readNewName } from './arguments.ts'
import { Context } from './context.ts'
import { example } from './help.ts'
import { type ListenOptions, listenOptions, nameOfHost } from './listen-options.ts'
import { bothOf } from './text.ts'

interface InitOptions extends ListenOptions {
  name: string
  subnet: string
  subnet6?: string
}

export function initCommand(program: Command): void {
  const command = program
    .command('init')
    .description('create a mesh and its first controller in the data directory')
    .requiredOption('--name <name>', 'name of the mesh', readNewName('--name'))
    .requiredOption('--subnet <cidr>', 'addresses of the overlay', once('--subnet', readCidr('--subnet')))
    .option(
      '--subnet6 <prefix>',
      'IPv6 addresses of the overlay, beside those',
      once('--subnet6', readCidr6('--subnet6')),
    )
  listenOptions(command)
    .addHelpText('after', example('overmesh init --name prod --subnet 10.77.0.0/16 --public vpn.example.net'))
    .action(async (options: InitOptions, self: Command) => {
      const { dataDir, output } = Context.of(self)
      const { initMesh } = await import('../init.ts')
      const controller = options.controller ?? nameOfHost()
      const made = await initMesh({
        dataDir,
        name: options.name,
        subnet: options.subnet,
        subnet6: options.subnet6,
        controller,
        public: options.public ?? [],
        listen: options.listen ?? ['0.0.0.0:1194'],
        meshListen: options.meshListen,
        apiListen: options.apiListen,
      })
      const { name, subnet, subnet6 } = options
      output.result({ name, subnet, subnet6, controller, dataDir, ...made }, () => {
        output.line(`mesh ${options.name} is in ${dataDir}, its first controller is ${controller}`)
        output.facts([
          ['subnet', bothOf(subnet, subnet6)],
          ['gateway', bothOf(made.gateway, made.gateway6)],
          ['controller', bothOf(made.address, made.address6)],
          ['clients dial', made.public.join(' ')],
        ])
        output.note('next: `overmesh up` runs it, `overmesh client add NAME --out NAME.ovpn` adds a client')
      })
    })
}
