// Attachments: where they are up, and what passes through those that this controller carries.
import type { IkeSa } from '../ipsec/engine.ts'
import type { Exposition, Labels, Sample } from './exposition.ts'

export interface AttachmentStanding {
  readonly id: string
  readonly name: string
  /** Up on whichever controller. */
  readonly up: boolean
  readonly here: boolean
}

const FIGURES = ['bytesIn', 'bytesOut', 'packetsIn', 'packetsOut'] as const
type Traffic = Record<(typeof FIGURES)[number], number>

/** SAs of one controller; more are not added up. */
const MAX_SAS = 4096

/** Adds up what passed through SAs, which come and go with their keys: what one carried after it was last looked at is missed. */
export class IpsecTraffic {
  readonly #totals = new Map<string, Traffic>()
  #last = new Map<string, Traffic>()

  look(sas: readonly IkeSa[]): void {
    const now = new Map<string, Traffic>()
    for (const { tunnel, children } of sas) {
      for (const child of children) {
        if (now.size >= MAX_SAS) return
        const key = `${tunnel} ${child.spiIn} ${child.spiOut}`
        const before = this.#last.get(key)
        const total = this.#totals.get(tunnel) ?? { bytesIn: 0, bytesOut: 0, packetsIn: 0, packetsOut: 0 }
        for (const figure of FIGURES) total[figure] += Math.max(0, child[figure] - (before?.[figure] ?? 0))
        this.#totals.set(tunnel, total)
        const { bytesIn, bytesOut, packetsIn, packetsOut } = child
        now.set(key, { bytesIn, bytesOut, packetsIn, packetsOut })
      }
    }
    this.#last = now
  }

  /** Forgets attachments that are no more. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#totals.keys()) if (!ids.has(id)) this.#totals.delete(id)
  }

  of(id: string): Traffic | undefined {
    return this.#totals.get(id)
  }
}

export interface IpsecSources {
  /** The IKE daemon of this controller runs; undefined where nothing may be carried. */
  running: boolean | undefined
  /** Undefined where the kernel keeps the account. */
  refusedPackets?: number | undefined
  /** Those that are enabled. */
  attachments: readonly AttachmentStanding[]
  sas: readonly IkeSa[]
  traffic: IpsecTraffic
}

export function addIpsecMetrics(out: Exposition, sources: IpsecSources): void {
  const { running, refusedPackets, attachments, sas, traffic } = sources
  const each = (value: (one: AttachmentStanding) => number | undefined): Sample[] =>
    attachments.flatMap((one): Sample[] => {
      const labels: Labels = { attachment: one.name }
      const figure = value(one)
      return figure === undefined ? [] : [[labels, figure]]
    })
  out.gauge(
    'overmesh_ipsec_daemon_up',
    '1 while the IKE daemon of this controller runs, else 0; none where no attachment may be carried.',
    running === undefined ? [] : Number(running),
  )
  out.counter(
    'overmesh_ipsec_refused_packets_total',
    'Packets that sites sent from or to addresses that are not theirs; none where the kernel does ESP (/proc/net/xfrm_stat).',
    refusedPackets ?? [],
  )
  out.gauge(
    'overmesh_attachment_up',
    '1 while an attachment is up on any controller in reach, else 0; those that are enabled.',
    each(({ up }) => Number(up)),
  )
  out.gauge(
    'overmesh_attachment_carried',
    '1 while an attachment is up on this controller, else 0.',
    each(({ here }) => Number(here)),
  )
  const count = (id: string, of: (sa: IkeSa) => number) =>
    sas.reduce((sum, sa) => sum + (sa.tunnel === id ? of(sa) : 0), 0)
  out.gauge(
    'overmesh_attachment_ike_sas',
    'IKE SAs of an attachment on this controller.',
    each(({ id }) => count(id, () => 1)),
  )
  out.gauge(
    'overmesh_attachment_child_sas',
    'ESP SAs of an attachment on this controller, each with both directions.',
    each(({ id }) => count(id, ({ children }) => children.length)),
  )
  const passed = (which: keyof Traffic) => each(({ id }) => traffic.of(id)?.[which])
  out.counter(
    'overmesh_attachment_receive_bytes_total',
    'Bytes received from a site by this controller.',
    passed('bytesIn'),
  )
  out.counter(
    'overmesh_attachment_transmit_bytes_total',
    'Bytes sent to a site by this controller.',
    passed('bytesOut'),
  )
  out.counter(
    'overmesh_attachment_receive_packets_total',
    'Packets received from a site by this controller.',
    passed('packetsIn'),
  )
  out.counter(
    'overmesh_attachment_transmit_packets_total',
    'Packets sent to a site by this controller.',
    passed('packetsOut'),
  )
}
