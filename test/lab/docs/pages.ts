// What a lab has to have for each page: the hosts its commands name, and what a reader is taken to have done before.
import type { Lab } from '../lab.ts'

export interface World {
  /** Controllers that run already, the founder first. */
  running?: readonly string[]
  /** IPv6 of the overlay. */
  subnet6?: string
  /** Hosts with nothing on them. */
  machines?: readonly string[]
  /** Clients that are connected already, with further arguments of `client add`. */
  clients?: Readonly<Record<string, readonly string[]>>
  /** The clientpacks of those lie on the desk, as NAME.ovpn. */
  packs?: boolean
  /** Names that resolve, and the hosts they mean. */
  names?: Readonly<Record<string, string>>
  /** Files that are there. */
  files?: Readonly<Record<string, string>>
  /** Where blocks run that name no host. @default the first of `running`, else of `machines` */
  first?: string
  /** Whatever else has to be there. */
  prepare?(lab: Lab): Promise<void>
}

const PASSPHRASE = 'correct horse battery staple\n'

export const PAGES: Readonly<Record<string, World>> = {
  'README.md': {
    machines: ['vpn', 'berlin', 'web', 'db'],
    names: { 'vpn.example.net': 'vpn', 'vpn2.example.net': 'berlin' },
    files: { pass: PASSPHRASE },
  },
  'deploy/README.md': {},
  'docs/README.md': {},
  'docs/api.md': { running: ['alpha', 'beta'], names: { 'alpha.example.net': 'alpha' } },
  'docs/clients.md': { running: ['alpha'], machines: ['web'] },
  'docs/concepts.md': { running: ['alpha', 'beta'] },
  'docs/contributing/architecture.md': {},
  'docs/contributing/packet.md': {},
  'docs/contributing/record-kind.md': {},
  'docs/contributing/record.md': {},
  'docs/disaster-recovery.md': { running: ['alpha', 'gamma'], machines: ['spare'] },
  'docs/failover.md': { running: ['alpha', 'beta'], clients: { web: [] } },
  'docs/install.md': {
    machines: ['vpn', 'berlin'],
    names: { 'vpn.example.net': 'vpn', 'vpn2.example.net': 'berlin' },
  },
  'docs/ipsec.md': { running: ['alpha', 'beta'] },
  'docs/mesh-as-code.md': { running: ['alpha', 'beta'] },
  'docs/observability.md': {
    running: ['alpha', 'beta'],
    clients: { web: [] },
    names: { 'alpha.example.net': 'alpha' },
    files: { 'chat.url': 'http://127.0.0.1:8099/overmesh\n' },
  },
  'docs/routing.md': {
    running: ['alpha', 'beta'],
    subnet6: 'fd12:3456:789a::/64',
    clients: { web: [], db: [] },
  },
  'docs/security.md': { running: ['alpha', 'gamma'], clients: { web: [], db: [] } },
  'docs/sizing.md': {},
  'docs/upgrade.md': { running: ['alpha', 'beta'] },
  'docs/troubleshooting.md': { running: ['alpha', 'beta'], clients: { web: [] }, packs: true },
}
