// overmesh capture: packets of the overlay as they pass the switch of this controller, for Wireshark or for the eye.
import type { Command } from 'commander'
import type { RemoteController } from '../api/remote.ts'
import { CAPTURE_PACKETS, CAPTURE_SECONDS, MOST_HOSTS, MOST_SNAP } from '../capture/limits.ts'
import { PcapngReader } from '../capture/pcapng-reader.ts'
import type { CaptureRequest } from '../service-capture.ts'
import { once, readAnyAddress, readAnyCidr, readInteger, readShownName, repeated } from './arguments.ts'
import { CaptureFile } from './capture-file.ts'
import { type CaptureSink, CaptureTally, fileSink, lineSink, nowhere, pipeSink } from './capture-output.ts'
import { Context } from './context.ts'
import { CommandError, UsageError } from './errors.ts'
import { example } from './help.ts'
import type { Output } from './output.ts'
import { untilInterrupted } from './signals.ts'
import { formatBytes } from './text.ts'

interface Options {
  client?: string
  controller?: string
  attachment?: string
  host?: string[]
  net?: string[]
  port?: number
  proto?: CaptureRequest['protocol']
  dropped?: boolean
  seconds?: number
  packets?: number
  snap?: number
  payload?: boolean
  out?: string
  force?: boolean
  text?: boolean
}

/** ms that the end of the file may take to come once it was asked for. */
const END_PATIENCE = 5000

export function captureCommand(program: Command): void {
  const { default: seconds, most: mostSeconds } = CAPTURE_SECONDS
  const { default: packets, most: mostPackets } = CAPTURE_PACKETS
  program
    .command('capture')
    .description(
      'packets of the overlay as they pass this controller, decrypted: lines on a terminal, pcapng for Wireshark in a pipe or file. ' +
        'Their headers only, unless --snap or --payload asks for what clients send',
    )
    .option(
      '--client <name>',
      'what passes the session of this client',
      once('--client', readShownName('--client')),
    )
    .option(
      '--controller <name>',
      'what passes the link to this controller; of this one itself, its TUN',
      readShownName('--controller'),
    )
    .option(
      '--attachment <name>',
      'from or to the networks of this site by IPsec',
      readShownName('--attachment'),
    )
    .option(
      '--host <address>',
      'from or to it; twice: between the two',
      repeated('--host', readAnyAddress('--host'), MOST_HOSTS),
    )
    .option(
      '--net <cidr>',
      'from or to it; twice: between the two',
      repeated('--net', readAnyCidr('--net'), MOST_HOSTS),
    )
    .option('--port <n>', 'from or to this port of TCP, UDP or SCTP', readInteger('--port', 1, 65_535))
    .option('--proto <name>', 'tcp, udp, icmp (of IPv4 and IPv6) or a number', readProtocol)
    .option('--dropped', 'what the switch drops, each with the reason, instead of what passes')
    .option(
      '--seconds <n>',
      `end after so long (default ${seconds})`,
      readInteger('--seconds', 1, mostSeconds),
    )
    .option(
      '--packets <n>',
      `end after so many (default ${packets})`,
      readInteger('--packets', 1, mostPackets),
    )
    .option('--snap <bytes>', 'so much of each packet, payload included', readInteger('--snap', 1, MOST_SNAP))
    .option('--payload', 'packets whole')
    .option('--out <file>', 'write pcapng there (mode 0600); - is standard output')
    .option('--force', 'replace the file if it exists')
    .option('--text', 'lines, in a pipe, too')
    .addHelpText('after', example('overmesh capture --client web --port 443 --seconds 30 --out web.pcapng'))
    .action(run)
}

async function run(options: Options, command: Command): Promise<void> {
  const context = Context.of(command)
  const { output } = context
  const request = requestOf(options)
  checkTarget(options, output)
  const remote = await context.needRunning()
  using interrupted = untilInterrupted()
  const tally = new CaptureTally()
  const began = Date.now()
  const path = options.out === '-' ? undefined : options.out
  const file = path === undefined ? undefined : await CaptureFile.create(path, options.force === true)
  try {
    const cut = new AbortController()
    const capture = await remote.capture(request, cut.signal).catch(async (error: unknown) => {
      await file?.discard()
      throw error
    })
    await file?.begin()
    await announce(remote, output, request)
    const end = () => {
      if (interrupted.signal.reason === 'unread') {
        tally.end = 'nobody reads them any more'
        cut.abort()
        return
      }
      remote.endCapture(capture.id).catch(() => cut.abort())
      setTimeout(() => cut.abort(), END_PATIENCE).unref()
    }
    if (interrupted.signal.aborted) end()
    else interrupted.signal.addEventListener('abort', end, { once: true })
    const sink = file === undefined ? sinkOf(options, output, tally) : fileSink(file)
    await copy(capture.content, sink, tally).catch((error: unknown) => {
      if (cut.signal.aborted) return
      if (path !== undefined && !(error instanceof CommandError))
        output.note(`${tally.packets} packets that came before this are in ${path}`)
      throw error
    })
  } finally {
    await file?.close()
  }
  report(output, tally, (Date.now() - began) / 1000, path)
}

/** Hands on whole blocks, so that what was written is sound whenever it ends. */
async function copy(
  content: AsyncIterable<Uint8Array>,
  sink: CaptureSink,
  tally: CaptureTally,
): Promise<void> {
  const reader = new PcapngReader()
  for await (const chunk of content) {
    const blocks = reader.push(chunk)
    for (const block of blocks) tally.count(block)
    if (blocks.length > 0) await sink(blocks)
  }
}

function requestOf(options: Options): CaptureRequest {
  const { client, controller, attachment, host, net, port, proto, dropped, seconds, packets } = options
  if (options.payload && options.snap !== undefined)
    throw new UsageError('--payload takes packets whole, and --snap a part of them; give one of the two')
  if (client !== undefined && controller !== undefined) {
    throw new UsageError(
      'a packet passes one port at a time; give --client or --controller, and name the other end by --host',
    )
  }
  return {
    client,
    controller,
    attachment,
    hosts: host,
    networks: net,
    port,
    protocol: proto,
    dropped,
    seconds,
    packets,
    snap: options.payload ? MOST_SNAP : options.snap,
  }
}

function checkTarget({ out, force, text }: Options, output: Output): void {
  if (out === '') throw new UsageError('--out is empty; give a file, or - for standard output')
  if (force && (out === undefined || out === '-'))
    throw new UsageError('--force replaces a file; name it with --out')
  if (text && out !== undefined)
    throw new UsageError('--text writes lines, and --out pcapng; give one of the two')
  if (output.json && (text || out === '-'))
    throw new UsageError('--json prints figures alone on standard output; give --out FILE for the packets')
  if (out === '-' && output.interactive) {
    throw new UsageError(
      'pcapng is not for terminals; pipe it to a program, as in `overmesh capture | wireshark -k -i -`, or give --out FILE',
    )
  }
}

function sinkOf({ out, text }: Options, output: Output, tally: CaptureTally): CaptureSink {
  if (output.json) return nowhere
  return text || (out === undefined && output.interactive) ? lineSink(output, tally) : pipeSink
}

/** What is to be known while nothing is seen yet. */
async function announce(remote: RemoteController, output: Output, request: CaptureRequest): Promise<void> {
  if (output.json) return
  const { seconds = CAPTURE_SECONDS.default, packets = CAPTURE_PACKETS.default, snap, client } = request
  const what =
    snap === undefined
      ? 'headers only (--payload takes all)'
      : 'payload, too: keep it to yourself, it holds what clients send'
  output.note(`capturing ${what}; ends by Ctrl-C, after ${seconds} s or ${packets} packets`)
  if (client === undefined) return
  const [{ session }, { controller }] = await Promise.all([remote.client(client), remote.status()])
  if (session === null) output.note(`${client} is not connected now`)
  else if (session.controller !== controller.name)
    output.note(`${client} is connected to ${session.controller} now, and its packets pass there`)
}

function report(output: Output, tally: CaptureTally, seconds: number, file: string | undefined): void {
  const { packets, bytes, lost, end = 'the connection was ended' } = tally
  const ports = Object.fromEntries(tally.ports)
  const figures = { packets, bytes, lost, seconds: Math.round(seconds * 10) / 10, ended: end, ports }
  output.result({ file: file ?? null, ...figures }, () => {
    const where = file === undefined ? '' : ` in ${file}`
    output.note(`${packets} packets of ${formatBytes(bytes)}${where}; ${end}`)
    if (lost > 0)
      output.note(`${lost} more were lost: whoever reads is too slow; capture less of them, or into a file`)
  })
}

function readProtocol(text: string): CaptureRequest['protocol'] {
  if (text === 'tcp' || text === 'udp' || text === 'icmp') return text
  const number = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN
  if (number <= 255) return number
  throw new UsageError(`--proto: '${text}' is not tcp, udp, icmp or a protocol number from 0 to 255`)
}
