// The mesh as it is, as a document that would change nothing.
import { parseCidr } from '../../state/address.ts'
import { isInternet6, parseCidr6 } from '../../state/address6.ts'
import type { AttachmentValue, ControllerId, RouteValue } from '../../state/kinds.ts'
import type { ClientView } from '../../state/views.ts'
import { formatForwarder } from '../dns/forwarders.ts'
import { dnsSettings } from '../dns/settings.ts'
import type { Home } from '../home.ts'
import { DEFAULTS } from '../ipsec/attachments.ts'
import { attachmentNames } from '../ipsec/names.ts'
import { DEFAULT_LENGTH } from '../push.ts'
import { readRouteUpdates } from '../route-settings.ts'
import { Routes } from '../routes.ts'
import type { DesiredAttachment, DesiredClient, DesiredRoute, DesiredState } from '../service-desired.ts'
import { DESIRED_VERSION } from '../service-desired.ts'

export function exportDesired(home: Home): DesiredState {
  const { mesh, views, replica } = home
  const { enabled, forwarders } = dnsSettings(home)
  const clients = views.clients().filter(({ value }) => replica.get('revocation', value.serial) === undefined)
  const names = attachmentNames(replica)
  const attachments = [...replica.all('attachment')]
    .map(({ id, value }) => [names.get(id)!, attachmentOf(home, value)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    version: DESIRED_VERSION,
    mesh: mesh.value.name,
    dns: { enabled, forwarders: forwarders.map(formatForwarder) },
    routeUpdates: readRouteUpdates(home).over,
    clients: Object.fromEntries(clients.map(client => [client.name, clientOf(home, client)])),
    routes: addedRoutes(home).map(({ route }) => route),
    attachments: Object.fromEntries(attachments),
  }
}

function clientOf(home: Home, { value }: ClientView): DesiredClient {
  const prefer = controllerNames(home, value.prefer ?? [])
  return {
    address: value.address,
    ...(value.subnets.length > 0 && { subnets: [...value.subnets] }),
    ...(Object.keys(value.tags).length > 0 && { tags: { ...value.tags } }),
    ...(!value.enabled && { enabled: false }),
    ...(prefer.length > 0 && { prefer }),
  }
}

/** The routes that an operator added, as a document has them. */
export function addedRoutes(home: Home): { id: string; value: RouteValue; route: DesiredRoute }[] {
  const routes = new Routes(home)
  return [...home.replica.all('route')]
    .map(({ id, value }) => ({ id, value, route: routeOf(routes, value) }))
    .sort((a, b) =>
      a.value.cidr < b.value.cidr ? -1 : a.value.cidr > b.value.cidr ? 1 : a.id < b.id ? -1 : 1,
    )
}

function routeOf(routes: Routes, { cidr, via, metric, nat, exit, probe }: RouteValue): DesiredRoute {
  const prefix = parseCidr(cidr)
  const prefix6 = parseCidr6(cidr)
  const isInternet = prefix ? prefix.length < DEFAULT_LENGTH : prefix6 !== undefined && isInternet6(prefix6)
  const text = routes.viaName({ via, nat, exit, cidr: prefix })
  const isExit = text === 'internet' || text.startsWith('internet:')
  return {
    cidr,
    via: text,
    ...(metric !== 0 && { metric }),
    ...(nat && !isExit && { nat }),
    ...(probe !== undefined && { probe }),
    ...(isInternet && !isExit && !nat && { default: true }),
  }
}

function attachmentOf(home: Home, value: AttachmentValue): DesiredAttachment {
  const { authentication, localId, remoteId, localSubnets } = value
  const controllers = controllerNames(home, value.controllers)
  const isUsual = (name: keyof typeof DEFAULTS) =>
    JSON.stringify(value[name]) === JSON.stringify(DEFAULTS[name])
  return {
    remote: value.remote === '%any' ? 'any' : value.remote,
    remoteSubnets: [...value.remoteSubnets],
    ...(localSubnets.join() !== home.mesh.value.subnet && { localSubnets: [...localSubnets] }),
    ...(authentication.method === 'certificate' && { authority: authentication.remoteAuthority }),
    ...(localId !== undefined && { localId }),
    ...(remoteId !== undefined && { remoteId }),
    ...(!isUsual('ikeVersion') && { ikeVersion: value.ikeVersion }),
    ...(!isUsual('ikeProposals') && { ikeProposals: [...value.ikeProposals] }),
    ...(!isUsual('espProposals') && { espProposals: [...value.espProposals] }),
    ...(!isUsual('dpdSeconds') && { dpdSeconds: value.dpdSeconds }),
    ...(!isUsual('ikeLifetimeSeconds') && { ikeLifetimeSeconds: value.ikeLifetimeSeconds }),
    ...(!isUsual('childLifetimeSeconds') && { childLifetimeSeconds: value.childLifetimeSeconds }),
    ...(value.initiate && { initiate: true }),
    ...(value.natTraversal && { natTraversal: value.natTraversal }),
    ...(controllers.length > 0 && { controllers }),
    ...(!value.enabled && { enabled: false }),
  }
}

/** Of those that are still of the mesh. */
export function controllerNames({ views, replica }: Home, ids: readonly ControllerId[]): string[] {
  return ids.filter(id => views.isAdmitted(id)).map(id => replica.get('controller', id)!.name)
}
