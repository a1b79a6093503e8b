// A host on the network that nobody trusts: it can claim any source address, replay what it saw, and invent packets.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NODE } from './controller.ts'
import type { Host } from './host.ts'

export interface Datagram {
  /** @default the attacker's own address */
  from?: string
  /** @default any */
  port?: number
  bytes: Uint8Array
}

const PORT = 1194

export class Attacker {
  readonly #host: Host
  readonly #target: Host
  #files = 0
  private constructor(host: Host, target: Host) {
    this.#host = host
    this.#target = target
  }

  static async on(host: Host, target: Host): Promise<Attacker> {
    // Fixed, since asking for it would announce the claimed address, and turn the owner's traffic to this host.
    const link = JSON.parse(await target.ip('-json', 'link', 'show', 'dev', 'eth0'))[0].address as string
    await host.ip('neighbour', 'replace', target.ip4, 'lladdr', link, 'dev', 'eth0', 'nud', 'permanent')
    return new Attacker(host, target)
  }

  /** From now on packets may be sent from any address of a network. What is answered does not reach anybody. */
  async claimAddresses(cidr: string): Promise<void> {
    await this.#host.ip('route', 'add', 'local', cidr, 'dev', 'lo')
  }

  /** Sends datagrams to the controller at a rate; returns how many. */
  async send(datagrams: readonly Datagram[], perSecond = 5000): Promise<number> {
    const file = join(this.#host.lab.directory, `datagrams-${++this.#files}`)
    const line = ({ from, port, bytes }: Datagram): string =>
      `${from ?? this.#host.ip4} ${port ?? 0} ${Buffer.from(bytes).toString('hex')}`
    writeFileSync(file, datagrams.map(line).join('\n'))
    const argv = [NODE, join(import.meta.dirname, 'dispatch.ts'), file, this.#target.ip4, String(PORT)]
    const out = await this.#host.exec(...argv, String(perSecond))
    return Number(/sent (\d+)/.exec(out)?.[1])
  }
}

/** Records what a host exchanges with the controller while something happens; in both directions, in order. */
export async function record(
  host: Host,
  work: () => Promise<void>,
): Promise<{ from: string; port: number; bytes: Uint8Array }[]> {
  const file = join(host.lab.directory, `${host.name}.pcap`)
  // As the user that it is, since it would write its file as nobody otherwise.
  const argv = [
    'tcpdump',
    '-Z',
    'root',
    '-i',
    'eth0',
    '-U',
    '-w',
    file,
    '--immediate-mode',
    'udp',
    'port',
    String(PORT),
  ]
  const tcpdump = await host.spawn(`tcpdump ${host.name}`, argv)
  await tcpdump.waitFor(/listening on/)
  await work()
  await tcpdump.stop('SIGINT')
  return readCapture(readFileSync(file))
}

/** The UDP payloads in a capture of Ethernet frames with IPv4 (libpcap's savefile format, pcap-savefile(5)). */
function readCapture(file: Buffer): { from: string; port: number; bytes: Uint8Array }[] {
  const [fileHeader, recordHeader, ethernetHeader, udpHeader] = [24, 16, 14, 8]
  const packets: { from: string; port: number; bytes: Uint8Array }[] = []
  for (let at = fileHeader; at + recordHeader <= file.length; ) {
    const frame = file.subarray(at + recordHeader, at + recordHeader + file.readUInt32LE(at + 8))
    at += recordHeader + frame.length
    const ip = frame.subarray(ethernetHeader)
    const udp = ip.subarray((ip[0] & 15) * 4, ip.readUInt16BE(2))
    packets.push({
      from: ip.subarray(12, 16).join('.'),
      port: udp.readUInt16BE(0),
      bytes: udp.subarray(udpHeader),
    })
  }
  return packets
}
