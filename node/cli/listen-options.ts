// What `init` and `join` ask alike: the controller's name, and where it is reached; and what may change of that later.
import { hostname } from 'node:os'
import type { Command } from 'commander'
import { readListen, readNewName, readPublic, repeated } from './arguments.ts'

export interface ListenOptions {
  controller?: string
  public?: string[]
  listen?: string[]
  meshListen: string
  apiListen?: string[]
}

export function listenOptions(command: Command): Command {
  return command
    .option(
      '--controller <name>',
      'name of this controller (default: the host name)',
      readNewName('--controller'),
    )
    .option(
      '--public <host[:port]>',
      'what clients and peers dial; repeat for more',
      repeated('--public', readPublic('--public'), 16),
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
    .option(
      '--api-listen <host:port>',
      'TCP address for the API, which is off otherwise; repeat for more',
      repeated('--api-listen', readListen('--api-listen'), 16),
    )
}

/** The same for a controller that there is already; what is not given stays as it was. */
export function relocationOptions(command: Command): Command {
  return command
    .option(
      '--public <host[:port]>',
      'what clients and peers dial from now on; repeat for more',
      repeated('--public', readPublic('--public'), 16),
    )
    .option(
      '--listen <host:port>',
      'UDP address for clients and peers from now on; repeat for more',
      repeated('--listen', readListen('--listen'), 16),
    )
    .option(
      '--mesh-listen <host:port>',
      'TCP address for other controllers from now on',
      readListen('--mesh-listen'),
    )
}

/** The host name as far as it makes a valid name. */
export function nameOfHost(): string {
  const name = hostname()
    .toLowerCase()
    .split('.', 1)[0]
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 63)
  return name === '' ? 'controller' : name
}
