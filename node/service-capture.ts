// What a controller offers its operator for a look at packets: captures of the overlay's traffic as it passes the switch.
import { type Static, Type } from 'typebox'
import { CAPTURE_PACKETS, CAPTURE_SECONDS, MOST_HOSTS, MOST_SNAP } from './capture/limits.ts'
import { SHOWN_NAME } from './service-desired.ts'

const Name = (description: string) => Type.String({ description, pattern: SHOWN_NAME })

/** All that is given must hold; nothing given: all packets. */
export const CaptureRequest = Type.Object(
  {
    client: Type.Optional(Name('what passes its session; only one of client and controller')),
    controller: Type.Optional(Name('what passes the link to it; of the controller itself, its TUN')),
    attachment: Type.Optional(Name('from or to the networks of this site')),
    hosts: Type.Optional(
      Type.Array(Type.String({ maxLength: 64, description: 'IPv4 or IPv6 address' }), {
        maxItems: MOST_HOSTS,
        description: 'from or to each of them: two are a conversation',
      }),
    ),
    networks: Type.Optional(
      Type.Array(Type.String({ maxLength: 64, description: 'IPv4 or IPv6 prefix' }), {
        maxItems: MOST_HOSTS,
        description: 'from or to each of them',
      }),
    ),
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: 'of TCP, UDP or SCTP, of source or destination',
      }),
    ),
    protocol: Type.Optional(
      Type.Union(
        [
          Type.Literal('tcp'),
          Type.Literal('udp'),
          Type.Literal('icmp'),
          Type.Integer({ minimum: 0, maximum: 255 }),
        ],
        { description: "icmp is that of either version of IP; or IANA's number" },
      ),
    ),
    dropped: Type.Optional(
      Type.Boolean({ description: 'what the switch drops, with the reason, instead of what passes' }),
    ),
    seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: CAPTURE_SECONDS.most,
        description: `default ${CAPTURE_SECONDS.default}`,
      }),
    ),
    packets: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: CAPTURE_PACKETS.most,
        description: `default ${CAPTURE_PACKETS.default}`,
      }),
    ),
    snap: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MOST_SNAP,
        description: 'bytes of each packet, payload included; headers only if absent',
      }),
    ),
  },
  { additionalProperties: false },
)
export type CaptureRequest = Static<typeof CaptureRequest>

/** A capture that runs. */
export interface Capture {
  readonly id: number
  /** A pcapng file as it grows. Whoever reads too slowly loses packets, which the file counts. */
  readonly content: AsyncIterable<Uint8Array>
}

export interface CaptureService {
  /** Ends when the time is over or there are enough packets, by `endCapture`, or when `content` is no longer read. */
  capture(request: CaptureRequest): Promise<Capture>
  /** What was captured until now still comes, and the end of the file, which says how it ended. */
  endCapture(id: number, how?: 'asked' | 'stopping'): Promise<{ ended: boolean }>
}
