// Tunnels to test with.
import type { Tunnel } from '../../../node/ipsec/engine.ts'

export const ID = '0123456789abcdef'

export const tunnel = (changes: Partial<Tunnel> = {}): Tunnel => ({
  id: ID,
  name: 'branch',
  remote: '192.0.2.2',
  localId: 'mesh',
  remoteId: 'branch',
  authentication: { method: 'psk', secret: Buffer.from('a secret') },
  ikeVersion: 2,
  ikeProposals: [],
  espProposals: [],
  localSubnets: ['10.77.0.0/16'],
  remoteSubnets: ['10.50.0.0/24'],
  dpdSeconds: 30,
  ikeLifetimeSeconds: 10_000,
  childLifetimeSeconds: 1000,
  encapsulate: false,
  initiate: false,
  takesOver: false,
  ...changes,
})

export const certificate = {
  method: 'certificate',
  certificate: 'own certificate',
  chain: ['issuing authority'],
  key: 'own key',
  remoteAuthority: 'their authority',
} as const
