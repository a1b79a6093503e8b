// overmesh probe: a client without root and without a TUN.

import { randomInt } from 'node:crypto'
import type { Command } from 'commander'
import { once, readAnyAddress, readInteger, readRemote, readSeconds } from './arguments.ts'
import { Context } from './context.ts'
import { CommandError } from './errors.ts'
import { example } from './help.ts'
import { readInput } from './input.ts'
import type { Output } from './output.ts'
import type { Ping } from './pinger.ts'
import { type Connection, Prober } from './prober.ts'
import { untilInterrupted } from './signals.ts'
import { bothOf, printable } from './text.ts'

/** A clientpack is 10 kB. */
const MAX_PACK = 1024 * 1024
/** How long to try without `--seconds`. */
const CONNECT_SECONDS = 30
const DEFAULT_COUNT = 4
/** Pings listed in the JSON document: the latest. */
const MAX_LISTED = 1000
const MAX_SECONDS = 86_400 * 365

interface ProbeOptions {
  ping?: string
  count?: number
  seconds?: number
  interval: number
  remote?: string
}

export function probeCommand(program: Command): void {
  program
    .command('probe')
    .description('connect as a client, without root: answer pings, ping an address, print what was seen')
    .argument('<pack>', 'clientpack, an .ovpn file (- reads standard input)')
    .option(
      '--ping <address>',
      'overlay address to ping, IPv4 or IPv6',
      once('--ping', readAnyAddress('--ping')),
    )
    .option(
      '--count <n>',
      `pings to send (default: ${DEFAULT_COUNT}, or as many as fit in --seconds)`,
      readInteger('--count', 1, 1_000_000_000),
    )
    .option(
      '--seconds <n>',
      'end after that time (default: when all pings are sent, or when interrupted)',
      readSeconds('--seconds', MAX_SECONDS),
    )
    .option('--interval <seconds>', 'between pings', readSeconds('--interval', 3600), 1)
    .option(
      '--remote <host:port>',
      'controller to connect to, instead of those of the clientpack',
      readRemote('--remote'),
    )
    .addHelpText('after', example('overmesh probe web.ovpn --ping 10.77.0.1 --count 3'))
    .addHelpText('after', '\nFails when it is refused, does not connect, or no ping is answered.')
    .action(async (file: string, options: ProbeOptions, command: Command) => {
      const { output } = Context.of(command)
      const pack = await readInput(file, 'a clientpack', MAX_PACK)
      try {
        await probe(output, pack, options)
      } catch (error) {
        if ((error as Error).name !== 'ProfileError') throw error
        throw new CommandError(
          `${file === '-' ? 'standard input' : file} is not a clientpack: ${(error as Error).message}`,
          { cause: error },
        )
      }
    })
}

async function probe(output: Output, pack: string, options: ProbeOptions): Promise<void> {
  // Loaded only now: other commands need no TLS and no cryptography.
  const { openTunnel } = await import('./tunnel.ts')
  const pings: Ping[] = []
  const unlimited = options.seconds !== undefined || options.ping === undefined
  using interrupted = untilInterrupted()
  const prober = new Prober({
    open: events => openTunnel({ pack, remote: options.remote }, events),
    ping: options.ping,
    count: options.count ?? (unlimited ? Number.POSITIVE_INFINITY : DEFAULT_COUNT),
    interval: options.interval * 1000,
    identifier: randomInt(0x10000),
    connected: (connection, afterMs) => {
      if (!output.json) printConnection(output, connection, afterMs)
    },
    updated: connection => {
      if (!output.json) printRoutes(output, connection)
    },
    retrying: reason => output.note(`${reason}; trying again`),
    answered: ping => {
      pings.push(ping)
      if (pings.length > MAX_LISTED) pings.shift()
      if (!output.json) printPing(output, ping)
    },
  })
  const timeout = options.seconds ?? CONNECT_SECONDS
  try {
    await ended(prober, timeout, options.seconds === undefined, interrupted.signal)
  } finally {
    await prober.close()
  }
  report(output, prober, pings, timeout, interrupted.signal.aborted)
}

/** Resolves when there is nothing to wait for any more. */
async function ended(
  prober: Prober,
  seconds: number,
  onlyToConnect: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  // setTimeout takes at most 2^31 - 1 ms.
  const deadline = performance.now() + seconds * 1000
  const check = () => {
    const left = deadline - performance.now()
    if (left <= 0 && !(onlyToConnect && prober.connection)) resolve()
    else if (left > 0) timer = setTimeout(check, Math.min(left, 2 ** 31 - 1))
  }
  let timer: NodeJS.Timeout | undefined
  check()
  const stop = () => resolve()
  signal.addEventListener('abort', stop)
  await Promise.race([promise, prober.finished])
  clearTimeout(timer)
  signal.removeEventListener('abort', stop)
}

function report(output: Output, prober: Prober, pings: Ping[], timeout: number, interrupted: boolean): void {
  const { connection, summary, reason, lastRefusal } = prober
  output.result(
    {
      connected: connection !== undefined,
      ...(connection ?? {
        address: null,
        remote: null,
        tls: null,
        cipher: null,
        keyDerivation: null,
        routes: [],
        options: [],
      }),
      connectMs: prober.connectMs === undefined ? null : Math.round(prober.connectMs * 1000) / 1000,
      losses: prober.losses,
      echoes: prober.echoes,
      reason: reason ?? lastRefusal ?? null,
      ping: summary ? { ...summary, pings } : null,
    },
    () => {
      if (summary !== undefined) {
        const { sent, received, lossPercent, rttMs } = summary
        const times = rttMs
          ? `, round trip ${rttMs.min}/${rttMs.average}/${rttMs.max} ms (least/average/most)`
          : ''
        output.line(`${sent} sent, ${received} answered, ${lossPercent} % lost${times}`)
      }
    },
  )
  if (reason !== undefined) throw new CommandError(reason)
  if (connection === undefined && !interrupted) {
    throw new CommandError(
      `no controller let us in within ${timeout} s${lastRefusal === undefined ? '' : ` (at last ${lastRefusal})`}; ` +
        'is it running, and can its UDP port be reached?',
    )
  }
  if (summary !== undefined && summary.sent > 0 && summary.received === 0) {
    throw new CommandError(`${summary.target} did not answer; is it connected (\`overmesh sessions\`)?`)
  }
}

function printConnection(output: Output, connection: Connection, afterMs: number): void {
  const { address, address6, remote, tls, cipher, keyDerivation } = connection
  output.line(
    printable(
      `connected to ${remote} as ${bothOf(address, address6)} in ${afterMs.toFixed(0)} ms (${tls}, ${cipher}, ${keyDerivation})`,
    ),
  )
  if (connection.routes.length > 0) printRoutes(output, connection)
}

function printRoutes(output: Output, { routes }: Connection): void {
  output.line(`routes through the tunnel: ${routes.map(printable).join(' ') || 'none'}`)
}

function printPing(output: Output, { sequence, from, size, ttl, rttMs, error }: Ping): void {
  if (error !== null) output.line(`from ${from}: seq=${sequence} ${output.paint('red', error)}`)
  else output.line(`${size} bytes from ${from}: seq=${sequence} ttl=${ttl} time=${rttMs} ms`)
}
