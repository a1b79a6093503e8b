// overmesh init: a new mesh and its first controller.

import { hostname } from 'node:os'
import type { Command } from 'commander'
import { readCidr, readListen, readName, readRemote, repeated } from './arguments.ts'
import { Context } from './context.ts'
import { example } from './help.ts'

interface InitOptions {
  name: string
  subnet: string
  controller?: string
  public?: string[]
  listen?: string[]
  meshListen: string
}

export function initCommand(program: Command): void {
  program
    .command('init')
    .description('create a mesh and its first controller in the data directory')
    .requiredOption('--name <name>', 'name of the mesh', readName('--name'))
    .requiredOption('--subnet <cidr>', 'addresses of the overlay', readCidr('--subnet'))
    .option(
      '--controller <name>',
      'name of this controller (default: the host name)',
      readName('--controller'),
    )
    .option(
      '--public <host[:port]>',
      'what clients and peers dial; repeat for more',
      repeated('--public', readRemote('--public'), 16),
    )
    .option(
      '--listen <host:port>',
      'UDP address for clients and peers; repeat for more (default: 0.0.0.0:1194)',
      repeated('--listen', readListen('--listen'), 16),
    )
    .option(
      '--mesh-listen <host:port>',
      'TCP address for other controllers',
      readListen('--mesh-listen'),
      '0.0.0.0:4001',
    )
    .addHelpText('after', example('overmesh init --name prod --subnet 10.77.0.0/16 --public vpn.example.net'))
    .action(async (options: InitOptions, command: Command) => {
      const { dataDir, output } = Context.of(command)
      const { initMesh } = await import('../init.ts')
      const controller = options.controller ?? nameOfHost()
      const made = await initMesh({
        dataDir,
        name: options.name,
        subnet: options.subnet,
        controller,
        public: options.public ?? [],
        listen: options.listen ?? ['0.0.0.0:1194'],
        meshListen: options.meshListen,
      })
      output.result({ name: options.name, subnet: options.subnet, controller, dataDir, ...made }, () => {
        output.line(`mesh ${options.name} is in ${dataDir}, its first controller is ${controller}`)
        output.facts([
          ['subnet', options.subnet],
          ['gateway', made.gateway],
          ['controller', made.address],
          ['clients dial', made.public.join(' ')],
        ])
        output.note('next: `overmesh up` runs it, `overmesh client add NAME --out NAME.ovpn` adds a client')
      })
    })
}

/** The host name as far as it makes a valid name. */
function nameOfHost(): string {
  const name = hostname()
    .toLowerCase()
    .split('.', 1)[0]
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 63)
  return name === '' ? 'controller' : name
}
