// What the remote end of an attachment has to be told: as strongSwan's configuration, or as a sheet of parameters for other devices.
import { isIP } from 'node:net'
import type { AttachmentValue, ControllerValue, MeshValue } from '../../state/kinds.ts'
import { readHostPort } from '../net/ip.ts'
import { DEFAULT_PORT } from '../push.ts'
import { ServiceError } from '../service-error.ts'
import type { AttachmentExport, ExportFormat } from '../service-ipsec.ts'
import { defaultEspProposals, defaultIkeProposals } from './strongswan/proposals.ts'
import { identitiesOf } from './tunnel.ts'

/** Stands where the pre-shared key is to be: a controller gives no secret back. */
export const SECRET_PLACE = 'PUT-THE-PRE-SHARED-KEY-HERE'

export interface ExportInit {
  readonly mesh: MeshValue
  readonly attachment: AttachmentValue
  readonly name: string
  /** The preferred ones first. */
  readonly controllers: readonly ControllerValue[]
}

interface Peer {
  readonly name: string
  /** Address or host name. */
  readonly host: string
}

/** A silent peer is given up after the seconds of `dpd_delay` and these tries: 1 + 1.2 + 1.44 + 1.73 s. */
const RETRANSMIT = { timeout: '1.0', base: '1.2', tries: 3 }

/** @throws ServiceError when no controller can be dialled */
export function exportAttachment(init: ExportInit, format: ExportFormat): AttachmentExport {
  const peers = init.controllers.flatMap(({ name, publicEndpoints }) => {
    const [endpoint] = publicEndpoints.flatMap(text => readHostPort(text, DEFAULT_PORT) ?? [])
    return endpoint === undefined ? [] : [{ name, host: endpoint.host }]
  })
  if (peers.length === 0)
    throw new ServiceError(
      'refused',
      'no controller has a public address that the site could dial; see `overmesh init --public`',
    )
  return format === 'sheet'
    ? { fileName: `${init.name}.txt`, content: sheet(init, peers) }
    : { fileName: `overmesh-${init.name}.conf`, content: strongswan(init, peers) }
}

/** With the pre-shared key in its place, so that no quotes in it matter (swanctl.conf(5), `0s`). */
export function withSecret(content: string, secret: Uint8Array): string {
  return content.replaceAll(SECRET_PLACE, `0s${Buffer.from(secret).toString('base64')}`)
}

function strongswan(init: ExportInit, peers: readonly Peer[]): string {
  const { mesh, attachment, name } = init
  const { authentication } = attachment
  const { localId, remoteId } = identitiesOf(mesh.name, attachment)
  const isPsk = authentication.method === 'psk'
  const connections = peers.flatMap(peer => connection(init, peer))
  return lines([
    `# Attachment "${name}" of the mesh "${mesh.name}", as the site's strongSwan (5.9 or newer) needs it.`,
    `# Save as /etc/swanctl/conf.d/overmesh-${name}.conf, readable by root only, and run: swanctl --load-all`,
    '#',
    '# The site notices a dead controller soon enough only with these in /etc/strongswan.d/overmesh.conf; swanctl --reload-settings:',
    // strongSwan takes what follows on the same line for a part of the value.
    '#   charon {',
    `#     retransmit_timeout = ${RETRANSMIT.timeout}`,
    `#     retransmit_base = ${RETRANSMIT.base}`,
    `#     retransmit_tries = ${RETRANSMIT.tries}`,
    '#   }',
    ...(attachment.initiate
      ? [
          '#',
          '# A controller dials this site, and another one when that dies: nothing is to be dialled here.',
        ]
      : [
          '#',
          '# Every controller is kept connected; the mesh sends its packets by one of them, and takes them from all.',
        ]),
    '',
    'connections {',
    ...connections.map(indent),
    '}',
    ...(isPsk
      ? [
          'secrets {',
          `  ike-overmesh-${name} {`,
          `    id-1 = ${quoted(localId!)}`,
          `    id-2 = ${quoted(remoteId!)}`,
          `    secret = ${SECRET_PLACE}`,
          '  }',
          '}',
        ]
      : [
          '',
          `# The certificate of this device, /etc/swanctl/x509/${name}.pem, and its key, in /etc/swanctl/private/, are from the site's own authority.`,
          '#',
          `# Save as /etc/swanctl/x509ca/overmesh-${mesh.name}.pem, without the "# " of each line: the controllers' certificates chain to it.`,
          ...mesh.rootCertificate
            .trim()
            .split('\n')
            .map(line => `# ${line}`),
        ]),
  ])
}

function connection({ mesh, attachment, name }: ExportInit, { name: controller, host }: Peer): string[] {
  const { ikeVersion, initiate, dpdSeconds, ikeLifetimeSeconds, authentication } = attachment
  const { localId, remoteId } = identitiesOf(mesh.name, attachment)
  const isPsk = authentication.method === 'psk'
  return [
    `overmesh-${name}-${controller} {`,
    ...[
      `version = ${ikeVersion}`,
      `remote_addrs = ${host}`,
      `proposals = ${ikeProposalsOf(attachment).join(', ')}`,
      ...(dpdSeconds > 0 ? [`dpd_delay = ${dpdSeconds}s`] : []),
      `rekey_time = ${ikeLifetimeSeconds}s`,
      'keyingtries = 0',
      'mobike = yes',
      ...(attachment.natTraversal === 'always' ? ['encap = yes'] : []),
      // The same identity is at every controller.
      'unique = never',
      'local {',
      ...(isPsk
        ? ['  auth = psk', `  id = ${quoted(remoteId!)}`]
        : [
            '  auth = pubkey',
            `  certs = ${name}.pem`,
            ...(remoteId === undefined ? [] : [`  id = ${quoted(remoteId)}`]),
          ]),
      '}',
      'remote {',
      ...(isPsk
        ? ['  auth = psk', `  id = ${quoted(localId!)}`]
        : [
            '  auth = pubkey',
            `  cacerts = overmesh-${mesh.name}.pem`,
            `  id = ${quoted(localId ?? `O=${mesh.name}, OU=*, CN=*`)}`,
          ]),
      '}',
      'children {',
      ...pairsOf(attachment).flatMap(({ local, remote }, index) =>
        [
          `net-${index + 1} {`,
          `  local_ts = ${remote.join(', ')}`,
          `  remote_ts = ${local.join(', ')}`,
          `  esp_proposals = ${espProposalsOf(attachment).join(', ')}`,
          `  rekey_time = ${attachment.childLifetimeSeconds}s`,
          ...(initiate
            ? ['  start_action = none', '  dpd_action = clear', '  close_action = none']
            : ['  start_action = start', '  dpd_action = restart', '  close_action = start']),
          '}',
        ].map(indent),
      ),
      '}',
    ].map(indent),
    '}',
  ]
}

function sheet({ mesh, attachment, name }: ExportInit, peers: readonly Peer[]): string {
  const { authentication, initiate, ikeVersion, dpdSeconds } = attachment
  const { localId, remoteId } = identitiesOf(mesh.name, attachment)
  const isPsk = authentication.method === 'psk'
  const facts: [string, string][] = [
    ['Attachment', `${name}, of the mesh ${mesh.name}`],
    ['Peers, the best first', peers.map(peer => `${peer.host} (${peer.name})`).join('\n')],
    [
      'Who dials',
      initiate
        ? 'a controller; this device answers any of the peers'
        : 'this device; every peer, or the next when one is dead',
    ],
    ['IKE version', String(ikeVersion)],
    [
      'Ports',
      attachment.natTraversal === 'always'
        ? 'UDP 500 and 4500, both ways; NAT traversal always'
        : 'UDP 500 and 4500, both ways; NAT traversal on, and without a NAT between: IP protocol 50 (ESP)',
    ],
    ['Authentication', isPsk ? 'pre-shared key (not in this sheet)' : 'certificates'],
    [
      'Identity of this device',
      remoteId === undefined ? 'the subject of its certificate' : `${remoteId} (${kindOf(remoteId)})`,
    ],
    [
      'Identity of the peers',
      localId === undefined
        ? `the subject of their certificates: O=${mesh.name}`
        : `${localId} (${kindOf(localId)})`,
    ],
    ['IKE proposals', `${ikeProposalsOf(attachment).join('\n')}\n(any of them; the first are the best)`],
    ['IKE lifetime', `${attachment.ikeLifetimeSeconds} s`],
    ['ESP proposals', `${espProposalsOf(attachment).join('\n')}\n(any of them; tunnel mode)`],
    ['ESP lifetime', `${attachment.childLifetimeSeconds} s, no limit of bytes`],
    ['Networks at this device', attachment.remoteSubnets.join('\n')],
    ['Networks of the mesh', attachment.localSubnets.join('\n')],
    ['Selectors', ikeVersion === 2 ? 'all of them in one child SA' : 'one pair of networks in each phase 2'],
    [
      'Dead peer detection',
      dpdSeconds > 0 ? `every ${dpdSeconds} s, give up after 5 s without an answer` : 'off',
    ],
    ['TCP maximum segment size', '1360 bytes at most'],
  ]
  const width = Math.max(...facts.map(([title]) => title.length)) + 2
  const body = facts.flatMap(([title, text]) =>
    text.split('\n').map((line, index) => (index === 0 ? title : '').padEnd(width) + line),
  )
  const root = isPsk
    ? []
    : ['', 'The certificates of the peers chain to this authority:', '', mesh.rootCertificate.trim()]
  return lines([...body, ...root])
}

/** IKEv2 has all networks in one child SA, IKEv1 one pair in each. */
function pairsOf({
  ikeVersion,
  localSubnets,
  remoteSubnets,
}: AttachmentValue): { local: string[]; remote: string[] }[] {
  if (ikeVersion === 2) return [{ local: [...localSubnets], remote: [...remoteSubnets] }]
  return localSubnets.flatMap(local => remoteSubnets.map(remote => ({ local: [local], remote: [remote] })))
}

const ikeProposalsOf = ({ ikeProposals, ikeVersion }: AttachmentValue): readonly string[] =>
  ikeProposals.length > 0 ? ikeProposals : defaultIkeProposals(ikeVersion)
const espProposalsOf = ({ espProposals, ikeVersion }: AttachmentValue): readonly string[] =>
  espProposals.length > 0 ? espProposals : defaultEspProposals(ikeVersion)

/** As strongSwan takes it (https://docs.strongswan.org/docs/latest/config/identityParsing.html). */
function kindOf(identity: string): string {
  if (identity === '%any') return 'whatever it calls itself'
  if (isIP(identity) !== 0) return 'an address'
  const prefix = /^(keyid|fqdn|dns|rfc822|email|userfqdn|ipv4|ipv6|asn1dn):/.exec(identity)
  if (prefix !== null) return `of the type ${prefix[1]}`
  if (identity.includes('=')) return 'distinguished name'
  return identity.includes('@') ? 'user FQDN' : 'FQDN'
}

const indent = (line: string): string => `  ${line}`
const quoted = (text: string): string => `"${text}"`
const lines = (all: readonly string[]): string => `${all.join('\n')}\n`
