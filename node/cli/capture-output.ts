// Where a captured packet goes when it has come: counted always, and to a file, a pipe or a terminal.
import { once } from 'node:events'
import type { Block } from '../capture/pcapng-reader.ts'
import type { CaptureFile } from './capture-file.ts'
import type { Output } from './output.ts'
import { packetLine } from './packet-line.ts'
import { printable } from './text.ts'

/** What came of a capture. */
export class CaptureTally {
  packets = 0
  /** That the packets have, captured or not. */
  bytes = 0
  lost = 0
  /** How it ended, in words; undefined before. */
  end: string | undefined
  /** Packets by the port's name. */
  readonly ports = new Map<string, number>()
  readonly #names: string[] = []

  count(block: Block): void {
    if (block.type === 'interface') {
      this.#names.push(block.name)
    } else if (block.type === 'packet') {
      const name = this.nameOf(block.interface)
      this.packets++
      this.bytes += block.length
      this.ports.set(name, (this.ports.get(name) ?? 0) + 1)
    } else if (block.type === 'statistics' && block.comment !== undefined) {
      this.lost = block.lost
      this.end = /^ended: ([^;]*)/.exec(block.comment)?.[1] ?? block.comment
    }
  }

  nameOf(number: number): string {
    return this.#names[number] ?? '?'
  }
}

/** Takes whole blocks, after they were counted. */
export type CaptureSink = (blocks: readonly Block[]) => Promise<void>

export function fileSink(file: CaptureFile): CaptureSink {
  return blocks => file.write(bytesOf(blocks))
}

/** pcapng to standard output, as fast as that is read. */
export const pipeSink: CaptureSink = async blocks => {
  if (!process.stdout.write(bytesOf(blocks))) await once(process.stdout, 'drain')
}

export function lineSink(output: Output, tally: CaptureTally): CaptureSink {
  return async blocks => {
    for (const block of blocks) {
      if (block.type !== 'packet') continue
      output.line(printable(packetLine({ ...block, port: tally.nameOf(block.interface) })))
    }
  }
}

/** For --json without a file: only the figures are wanted. */
export const nowhere: CaptureSink = async () => {}

function bytesOf(blocks: readonly Block[]): Buffer {
  return Buffer.concat(blocks.map(({ bytes }) => bytes))
}
