// An attachment as a controller tells of it, for tests of the API and the command line.
import type { AddAttachment, AttachmentDetail } from '../../../node/service-ipsec.ts'

/** One that was just added: nothing is up yet. */
export function fakeAttachment(request: AddAttachment): AttachmentDetail {
  return {
    name: request.name,
    enabled: true,
    state: 'down',
    controller: null,
    since: null,
    problem: null,
    remote: request.remote,
    initiate: request.initiate ?? false,
    natTraversal: request.natTraversal ?? 'auto',
    authentication: request.authority === undefined ? 'psk' : 'certificate',
    localId: request.localId ?? 'home',
    remoteId: request.remoteId ?? request.name,
    ikeVersion: request.ikeVersion ?? 2,
    ikeProposals: request.ikeProposals ?? [],
    espProposals: request.espProposals ?? [],
    localSubnets: request.localSubnets,
    remoteSubnets: request.remoteSubnets,
    dpdSeconds: request.dpdSeconds ?? 10,
    ikeLifetimeSeconds: request.ikeLifetimeSeconds ?? 14_400,
    childLifetimeSeconds: request.childLifetimeSeconds ?? 3600,
    controllers: request.controllers ?? [],
    createdAt: '2026-01-02T03:04:05.678Z',
    engine: { state: 'running', problem: null, esp: 'user' },
    sas: [],
    storedOn: { controllers: 2, of: 3 },
  }
}
