// overmesh up: the controller, in the foreground.

import { writeSync } from 'node:fs'
import type { Command } from 'commander'
import { readChoice, readListen, repeated } from './arguments.ts'
import { Context } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { example } from './help.ts'
import { LOG_LEVELS, type LogLevel } from './log-level.ts'

interface UpOptions {
  tun: boolean | string
  logLevel: LogLevel
  apiListen?: string[]
  metricsListen?: string
  json?: boolean
}

export function upCommand(program: Command): void {
  program
    .command('up')
    .description('run the controller in the foreground; prints `ready` when clients can connect')
    .option('--no-tun', 'do not make a network interface: switch between clients only')
    .option('--tun <name>', 'name of the network interface', readInterfaceName)
    .option(
      '--api-listen <host:port>',
      'TCP address for the API this time, in place of what `overmesh api` shows; repeat for more',
      repeated('--api-listen', readListen('--api-listen'), 16),
    )
    .option(
      '--metrics-listen <host:port>',
      'TCP address for figures by plain HTTP this time, in place of what `overmesh metrics listen` set',
      readListen('--metrics-listen'),
    )
    .option(
      '--log-level <level>',
      `one of ${LOG_LEVELS.join(', ')}`,
      readChoice<LogLevel>('--log-level', LOG_LEVELS),
      'info',
    )
    .addHelpText('after', example('sudo overmesh up'))
    .addHelpText(
      'after',
      '\nSIGTERM, or the end of its terminal (SIGHUP), sends clients elsewhere and stops; SIGINT stops; a second signal stops at once.',
    )
    .action(async (options: UpOptions, command: Command) => {
      if (command.optsWithGlobals().json) {
        throw new UsageError(
          'up stays in the foreground and has no --json; its log is JSON when it is not a terminal',
        )
      }
      await runController(Context.of(command), options)
    })
}

async function runController(context: Context, options: UpOptions): Promise<void> {
  if (await context.running()) {
    throw new CommandError(`a controller is already running on ${context.dataDir}; see \`overmesh status\``)
  }
  const [{ createLog }, { findSupervisor }, { Controller }, { startApi }, { apiSocketPath }] =
    await Promise.all([
      import('./log.ts'),
      import('../supervisor.ts'),
      import('../controller.ts'),
      import('../api/server.ts'),
      import('../api/socket.ts'),
    ])
  const readable = process.stderr.isTTY === true
  const logger = createLog({
    level: options.logLevel,
    readable,
    colour: readable && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
  })
  const signals = new StopSignals()
  const supervisor = await findSupervisor(process.env, error =>
    logger.warn({ err: error }, 'systemd was not told'),
  )
  // Undone in reverse order, however far the start got.
  const undo: (() => Promise<unknown>)[] = []
  try {
    const controller = await Controller.open({
      dataDir: context.dataDir,
      logger,
      tun: options.tun,
      apiListen: options.apiListen,
      metricsListen: options.metricsListen,
    })
    undo.push(() => controller.stop())
    await controller.start()
    const onMistake = (error: unknown) => controller.mistaken(error)
    process.on('unhandledRejection', onMistake)
    undo.push(async () => process.off('unhandledRejection', onMistake))
    const api = await startApi({
      service: controller.service,
      socketPath: apiSocketPath(context.dataDir),
      logger: logger.child({ part: 'api' }),
      meter: controller.apiMeter,
    })
    undo.push(() => api.close())
    if (!signals.received) {
      announce()
      supervisor.ready('clients can connect', () => controller.isAlive)
    }
    const end = await Promise.race([signals.first, controller.failed])
    if (end instanceof Error) throw new CommandError(end.message)
    const drains = end !== 'SIGINT'
    const doing = drains ? 'draining, then stopping' : 'stopping'
    logger.info({ signal: end }, doing)
    supervisor.stopping(doing)
    if (drains) await controller.drain()
  } finally {
    try {
      for (const step of undo.toReversed()) await step()
      if (undo.length > 0) logger.info('stopped')
    } finally {
      endProcess()
    }
    signals.release()
    supervisor.close()
  }
}

/**
 * Once whoever called has told of an error, which comes first. Without it the process stays for a second: libp2p leaves timers behind,
 * of gossipsub's next heartbeat and of a look at its addresses. All else is closed by now, and the log is written line by line.
 */
function endProcess(): void {
  setImmediate(() => process.exit())
}

/** Past the stream, which would end the process for a reader that has gone: the clients have not. */
function announce(): void {
  try {
    writeSync(process.stdout.fd, 'ready\n')
  } catch {
    // Nobody waits for it.
  }
}

const STOPS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The first signal asks, the second insists; but a terminal that ends may send several, of which none does. */
class StopSignals {
  readonly first: Promise<NodeJS.Signals>
  received: NodeJS.Signals | undefined
  readonly #handler: (signal: NodeJS.Signals) => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
    this.first = promise
    this.#handler = signal => {
      if (this.received !== undefined && signal === 'SIGHUP') return
      if (this.received !== undefined) process.exit(signal === 'SIGINT' ? 130 : 143)
      this.received = signal
      resolve(signal)
    }
    for (const signal of STOPS) process.on(signal, this.#handler)
  }

  release(): void {
    for (const signal of STOPS) process.off(signal, this.#handler)
  }
}

/** IFNAMSIZ of netdevice(7) is 16 with the terminating zero; two more go to the label of its second address. */
function readInterfaceName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,12}$/.test(text)) return text
  throw new UsageError(
    `--tun: '${text}' is not a name for an interface; use up to 13 letters, digits, '.', '_' and '-'`,
  )
}
