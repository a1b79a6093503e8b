// The mesh as this controller sees it: its peers, the links to them, and how far their records are.
import type { MeshRuntime } from '../mesh-runtime.ts'
import type { Switch } from '../switch/switch.ts'
import type { Exposition, Sample } from './exposition.ts'
import type { ReplicaLag } from './lag.ts'

export interface MeshSources {
  mesh: MeshRuntime
  network: Pick<Switch, 'portStats'>
  lag: ReplicaLag
  /** Monotonic ms. */
  now: number
  /** The name of a controller. */
  nameOf: (id: string) => string
}

export function addMeshMetrics(out: Exposition, { mesh, network, lag, now, nameOf }: MeshSources): void {
  const peers = mesh.peers()
  const links = mesh.links()
  const each =
    <T extends object>(all: readonly T[], idOf: (one: T) => string) =>
    (value: (one: T) => number | undefined): Sample[] =>
      all.flatMap((one): Sample[] => {
        const figure = value(one)
        return figure === undefined ? [] : [[{ peer: nameOf(idOf(one)) }, figure]]
      })
  const ofPeers = each(peers, ({ id }) => id)
  const ofLinks = each(links, ({ peer }) => peer)
  out.gauge(
    'overmesh_peer_connected',
    '1 while records are exchanged with another controller, else 0.',
    ofPeers(({ connected }) => Number(connected)),
  )
  out.gauge(
    'overmesh_peer_reachable',
    '1 while another controller is reached in any way, directly or through a third, else 0.',
    ofPeers(({ id }) => Number(mesh.core.presence.isLiving(id))),
  )
  out.gauge(
    'overmesh_peer_round_trip_seconds',
    'Round trip of the latest message to another controller and back.',
    ofPeers(({ connected, rttMs }) => (connected ? rttMs / 1000 : undefined)),
  )
  out.gauge(
    'overmesh_peer_lag_records',
    'Records of this controller that another is not known to have.',
    ofPeers(({ behind }) => behind),
  )
  out.gauge(
    'overmesh_peer_lag_seconds',
    'For how long another controller has not been known to have all records of this one; 0 while it has.',
    ofPeers(({ id, behind }) => lag.seconds(id, behind, now)),
  )
  out.gauge(
    'overmesh_link_up',
    '1 while the backbone link to another controller answers probes, else 0.',
    ofLinks(({ up }) => Number(up)),
  )
  out.gauge(
    'overmesh_link_round_trip_seconds',
    'Round trip of the backbone link, smoothed.',
    ofLinks(({ up, rttMs }) => (up ? rttMs / 1000 : undefined)),
  )
  out.gauge(
    'overmesh_link_loss_ratio',
    'Share of the latest 50 probes of the backbone link that were not answered, 0 to 1.',
    ofLinks(({ lossPercent }) => lossPercent / 100),
  )
  out.gauge(
    'overmesh_link_mtu_bytes',
    'Longest overlay packet that passes the backbone link in one piece.',
    ofLinks(({ up, mtu }) => (up ? mtu : undefined)),
  )
  const passed = (which: 'rxBytes' | 'txBytes' | 'rxPackets' | 'txPackets') =>
    ofLinks(({ port }) => network.portStats(port)?.[which])
  out.counter(
    'overmesh_link_receive_bytes_total',
    'Overlay bytes received by the backbone link since it was opened.',
    passed('rxBytes'),
  )
  out.counter(
    'overmesh_link_transmit_bytes_total',
    'Overlay bytes sent by the backbone link since it was opened.',
    passed('txBytes'),
  )
  out.counter(
    'overmesh_link_receive_packets_total',
    'Overlay packets received by the backbone link since it was opened.',
    passed('rxPackets'),
  )
  out.counter(
    'overmesh_link_transmit_packets_total',
    'Overlay packets sent by the backbone link since it was opened.',
    passed('txPackets'),
  )
}
