// The captures of a running controller: what an operator names becomes a filter of the switch, and what the switch calls
// by numbers gets its name.
import packageJson from '../../package.json' with { type: 'json' }
import { type Cidr, formatIpv4, parseCidr, parseIpv4 } from '../../state/address.ts'
import { type Cidr6, parseAddress6, parseCidr6 } from '../../state/address6.ts'
import type { ControllerId } from '../../state/kinds.ts'
import { controllerIds } from '../controller-names.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'
import type { Capture, CaptureRequest } from '../service-capture.ts'
import { ServiceError } from '../service-error.ts'
import type { Switch } from '../switch/switch.ts'
import type { Networks, TapFilter } from '../switch/tap-filter.ts'
import { allocateRing, type Captured, MAX_TAPS, RingReader, THIS_MACHINE } from '../switch/tap-ring.ts'
import { isLinkId } from '../vpn/peer-ids.ts'
import { type CaptureEnd, CaptureStream, type PortName } from './capture-stream.ts'
import { CAPTURE_BYTES, CAPTURE_PACKETS, CAPTURE_SECONDS } from './limits.ts'

/** Captures at once. */
export const MAX_CAPTURES = MAX_TAPS
/** Bytes of the rings: of headers, about ten thousand; of payload, some thousand packets. */
const HEADER_RING = 2 ** 20
const PAYLOAD_RING = 2 ** 22
/** What is not much more than headers. */
const SMALL_SNAP = 160

export interface CapturesInit {
  home: Home
  events: EventLog
  network: () => Switch | undefined
  /** By what name the link to a controller goes in the switch, and back. */
  linkTo: (controller: ControllerId) => number | undefined
  peerOf: (link: number) => ControllerId | undefined
}

export class Captures {
  readonly #init: CapturesInit
  readonly #running = new Map<number, CaptureStream>()
  #last = 0

  constructor(init: CapturesInit) {
    this.#init = init
  }

  /** @throws ServiceError for a name that is not known, for what cannot be, and when {@link MAX_CAPTURES} run */
  start(request: CaptureRequest): Capture {
    const { events } = this.#init
    const network = this.#init.network()
    if (network === undefined) throw new ServiceError('refused', 'the controller is starting; try again')
    const filter = this.#filter(request, network)
    if (this.#running.size >= MAX_CAPTURES) throw tooMany()
    const { seconds = CAPTURE_SECONDS.default, packets = CAPTURE_PACKETS.default, snap = 0 } = request
    const memory = allocateRing(snap > SMALL_SNAP ? PAYLOAD_RING : HEADER_RING)
    const tap = network.openTap(filter, memory)
    if (tap === undefined) throw tooMany()
    const id = ++this.#last
    const stream = new CaptureStream({
      id,
      ring: new RingReader(memory),
      seconds,
      packets,
      bytes: CAPTURE_BYTES,
      snap,
      application: `Overmesh ${packageJson.version}`,
      nameOf: packet => this.#nameOf(packet, network),
      tunMtu: network.tun?.mtu ?? Number.POSITIVE_INFINITY,
      release: () => network.closeTap(tap),
      ended: (how, captured, lost) =>
        events.append({ type: 'capture-ended', capture: id, packets: captured, lost, how }),
    })
    this.#running.set(id, stream)
    stream.once('close', () => this.#running.delete(id))
    const message = `packets are captured: ${describeRequest(request)}`
    events.append({ type: 'capture-started', message, capture: id, filter: request, seconds, packets })
    return stream
  }

  /** False when there is none, or no more. */
  end(id: number, how: CaptureEnd = 'asked'): boolean {
    const stream = this.#running.get(id)
    stream?.finish(how)
    return stream !== undefined
  }

  stop(): void {
    for (const stream of this.#running.values()) stream.finish('stopping')
  }

  #filter(request: CaptureRequest, network: Switch): TapFilter {
    const { attachment, hosts = [], networks = [], port, dropped = false, snap = 0 } = request
    return {
      port: this.#port(request, network),
      networks: [
        ...hosts.map(readHost),
        ...networks.map(readNetwork),
        ...(attachment === undefined ? [] : [this.#site(attachment)]),
      ],
      protocol: protocolNumber(request.protocol),
      transportPort: port,
      dropped,
      snap,
    }
  }

  #port({ client, controller }: CaptureRequest, network: Switch): TapFilter['port'] {
    const { home, linkTo } = this.#init
    if (client !== undefined && controller !== undefined) {
      throw new ServiceError(
        'invalid',
        'a packet passes one port at a time; name a client or a controller, and the other end by its address',
      )
    }
    if (client !== undefined) {
      const view = home.views.clientByName(client)
      if (view === undefined)
        throw new ServiceError('not-found', `no client is named ${client}; see \`overmesh client list\``)
      return { session: parseIpv4(view.value.address)! }
    }
    if (controller === undefined) return undefined
    const [id] = controllerIds(home, [controller])
    if (id === home.id) {
      if (network.tun !== null) return 'tun'
      throw new ServiceError(
        'refused',
        `${controller} is this controller, and has no TUN interface; name another, or give no name`,
      )
    }
    const link = linkTo(id)
    if (link === undefined)
      throw new ServiceError('refused', `there is no link to ${controller} yet; try again`)
    return { link }
  }

  #site(name: string): Networks {
    const { replica } = this.#init.home
    for (const { value } of replica.all('attachment')) {
      if (value.name === name) return { four: value.remoteSubnets.map(text => parseCidr(text)!), six: [] }
    }
    throw new ServiceError('not-found', `no attachment is named ${name}; see \`overmesh ipsec list\``)
  }

  #nameOf({ peerId, address }: Pick<Captured, 'peerId' | 'address'>, network: Switch): PortName {
    const { home, peerOf } = this.#init
    if (peerId === THIS_MACHINE) {
      const { tun } = network
      return tun === null
        ? { name: 'local', description: 'the controller itself' }
        : { name: 'tun', description: `interface ${tun.name} of the controller` }
    }
    if (isLinkId(peerId)) {
      const peer = peerOf(peerId)
      const name = peer && home.replica.get('controller', peer)?.name
      return {
        name: `link ${name ?? peerId}`,
        description: `backbone link to controller ${peer ?? 'unknown'}`,
      }
    }
    const text = formatIpv4(address)
    const [id] = home.views.claimants(text)
    return { name: `client ${home.views.client(id)?.name ?? text}`, description: `session of ${text}` }
  }
}

function tooMany(): ServiceError {
  return new ServiceError('refused', `${MAX_CAPTURES} captures run already; end one of them, or wait`)
}

function readHost(text: string): Networks {
  const four = parseIpv4(text)
  if (four !== undefined) return only({ address: four, length: 32 })
  const six = parseAddress6(text)
  if (six !== undefined) return { four: [], six: [{ address: six, length: 128 }] }
  throw new ServiceError('invalid', `'${text}' is neither an IPv4 nor an IPv6 address`)
}

function readNetwork(text: string): Networks {
  const four = parseCidr(text)
  if (four !== undefined) return only(four)
  const six: Cidr6 | undefined = parseCidr6(text)
  if (six !== undefined) return { four: [], six: [six] }
  throw new ServiceError('invalid', `'${text}' is neither an IPv4 nor an IPv6 prefix`)
}

function only(cidr: Cidr): Networks {
  return { four: [cidr], six: [] }
}

const NUMBERS = { tcp: 6, udp: 17, icmp: 'icmp' } as const

function protocolNumber(protocol: CaptureRequest['protocol']): TapFilter['protocol'] {
  return typeof protocol === 'string' ? NUMBERS[protocol] : protocol
}

/** For people: `dropped, client web, port 53, headers only`. */
export function describeRequest(request: CaptureRequest): string {
  const { client, controller, attachment, hosts = [], networks = [], port, protocol, dropped, snap } = request
  const parts = [
    dropped ? 'what is dropped' : undefined,
    client && `client ${client}`,
    controller && `controller ${controller}`,
    attachment && `attachment ${attachment}`,
    ...hosts.map(host => `host ${host}`),
    ...networks.map(network => `net ${network}`),
    port && `port ${port}`,
    protocol !== undefined && `protocol ${protocol}`,
  ].filter(part => part)
  const which = parts.length === 0 ? ['all'] : parts
  return [...which, snap === undefined ? 'headers only' : `up to ${snap} bytes each`].join(', ')
}
