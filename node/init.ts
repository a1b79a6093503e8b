// A new mesh and its first controller, in an empty data directory.
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { cidrHasHostBits, formatCidr, formatIpv4, parseCidr } from '../state/address.ts'
import {
  type Cidr6,
  cidr6HasHostBits,
  formatAddress6,
  formatCidr6,
  overlayAddress6,
  parseCidr6,
  subnet6Problem,
} from '../state/address6.ts'
import {
  type AddressView,
  blockLengthFor,
  gatewayOf,
  nextAddress,
  subnetProblem,
} from '../state/allocator.ts'
import { certificateTrust } from '../state/authority.ts'
import { controllerIdOf } from '../state/kinds.ts'
import { LevelStore } from '../state/level-store.ts'
import { rawPublicKey } from '../state/record.ts'
import { Replica } from '../state/replica.ts'
import { checkListen } from './api-settings.ts'
import { CONFIG_VERSION, type Config, DataDirectory } from './data-directory.ts'
import { checkDialable } from './dialable.ts'
import { meshEndpointsOf, publicEndpointsOf } from './mesh-endpoints.ts'
import { parseHostPort } from './net/ip.ts'
import { checkNewName } from './new-names.ts'
import { createMeshRoot, issueIssuingCa } from './pki/authority.ts'
import { formatPrivateKey, newPrivateKey, publicKeyOf } from './pki/keys.ts'
import { fingerprintOf } from './pki/names.ts'
import { LIFETIMES } from './pki/renewal.ts'
import { issueServerCertificate } from './pki/server.ts'
import { DEFAULT_PORT, SESSION_KEY_SECONDS } from './push.ts'
import { unroutable } from './route-check.ts'
import { ServiceError } from './service.ts'
import { formatTlsCryptV2ServerKey } from './vpn/static-key.ts'
import { generateServerKey } from './vpn/tls-crypt-v2.ts'

export interface InitRequest {
  dataDir: string
  /** Of the mesh. */
  name: string
  subnet: string
  /** Without it the overlay has IPv4 only. */
  subnet6?: string
  controller: string
  /** `host[:port]`: what clients dial; the listening address or the machine's own if empty. */
  public: readonly string[]
  /** `host:port`, UDP. */
  listen: readonly string[]
  /** `host:port`, TCP. */
  meshListen: string
  /** `host:port`, TCP, of the API. @default nowhere */
  apiListen?: readonly string[]
  /** Seconds. */
  lifetimes?: Partial<Config['lifetimes'] & { root: number }>
}

export interface InitResult {
  meshId: string
  controllerId: string
  /** Overlay address of the controller. */
  address: string
  /** Overlay address of every controller. */
  gateway: string
  /** The IPv6 addresses that go with them, if the overlay has IPv6. */
  address6?: string
  gateway6?: string
  /** What clientpacks will name. */
  public: string[]
}

/**
 * @throws ServiceError `invalid` for values that cannot be
 * @throws DataDirectoryError when the directory is not empty; nothing in it is touched
 */
export async function initMesh(request: InitRequest): Promise<InitResult> {
  const subnet = readSubnet(request.subnet)
  const subnet6 = request.subnet6 === undefined ? undefined : readSubnet6(request.subnet6)
  checkNewName(request.name)
  checkNewName(request.controller)
  const apiListen = checkListen(request.apiListen ?? [])
  const publicEndpoints = publicEndpointsOf(request.public, request.listen)
  checkDialable(publicEndpoints, { subnet, subnet6 })
  const directory = new DataDirectory(request.dataDir)
  await directory.claim()

  const now = Date.now()
  const lifetimes = { ...LIFETIMES, sessionKeys: SESSION_KEY_SECONDS, ...request.lifetimes }
  const meshId = randomBytes(16).toString('hex')
  const identity = generateKeyPairSync('ed25519')
  const publicKey = rawPublicKey(identity.publicKey)
  const id = controllerIdOf(publicKey)
  const root = createMeshRoot({ meshName: request.name, meshId, now, lifetime: lifetimes.root })
  const issuingKey = newPrivateKey()
  const issuing = issueIssuingCa(root, {
    controllerId: id,
    controllerName: request.controller,
    publicKey: publicKeyOf(issuingKey),
    now,
    lifetime: lifetimes.issuing,
  })
  const serverKey = newPrivateKey()
  const server = issueServerCertificate(
    { certificate: issuing.certificate, privateKey: issuingKey },
    {
      meshName: request.name,
      meshId,
      controllerName: request.controller,
      publicKey: createPublicKey(serverKey),
      hosts: publicEndpoints.map(endpoint => parseHostPort(endpoint, DEFAULT_PORT).host),
      now,
      lifetime: lifetimes.server,
    },
  )

  await directory.write(directory.identityKey, pem(identity.privateKey))
  await directory.write(directory.rootKey, formatPrivateKey(root.privateKey))
  await directory.write(directory.rootCertificate, root.pem)
  await directory.write(directory.issuingKey, formatPrivateKey(issuingKey))
  await directory.write(directory.issuingCertificate, issuing.pem)
  await directory.write(directory.serverKey, formatPrivateKey(serverKey))
  await directory.write(directory.serverCertificate, server.pem)
  await directory.write(directory.tlsCryptKey, formatTlsCryptV2ServerKey(generateServerKey(randomBytes)))

  const store = await LevelStore.open(directory.state, { create: true })
  const replica = await Replica.open({
    store,
    identity: { id, privateKey: identity.privateKey },
    trust: certificateTrust(root.pem),
    now: Date.now,
    random: randomBytes,
  })
  const blockLength = blockLengthFor(subnet)
  const view: AddressView = { subnet, blockLength, controllers: [id], isLeased: () => false }
  const allocation = nextAddress(view, id)
  if (!allocation.ok) throw new ServiceError('invalid', allocation.message)
  const address = formatIpv4(allocation.address)
  try {
    await replica.write([
      {
        kind: 'mesh',
        id: meshId,
        value: {
          name: request.name,
          subnet: formatCidr(subnet),
          ...(subnet6 && { subnet6: formatCidr6(subnet6) }),
          blockLength,
          rootCertificate: root.pem,
          rootFingerprint: fingerprintOf(root.certificate),
          createdAt: now,
        },
      },
      {
        kind: 'controller',
        id,
        value: {
          name: request.controller,
          publicKey: Buffer.from(publicKey).toString('hex'),
          certificateChain: issuing.pem,
          address,
          publicEndpoints,
          meshEndpoints: meshEndpointsOf(request.meshListen, publicEndpoints),
          joinedAt: now,
        },
      },
      { kind: 'lease', id: address, value: { holder: id, holderKind: 'controller' } },
    ])
  } finally {
    await replica.close()
  }
  // Last: a directory without it was never used.
  await directory.writeConfig({
    version: CONFIG_VERSION,
    controller: request.controller,
    controllerId: id,
    listen: [...request.listen],
    meshListen: request.meshListen,
    ...(apiListen.length > 0 && { api: { listen: apiListen, names: [] } }),
    lifetimes: {
      issuing: lifetimes.issuing,
      server: lifetimes.server,
      client: lifetimes.client,
      sessionKeys: lifetimes.sessionKeys,
    },
  })
  return {
    meshId,
    controllerId: id,
    address,
    gateway: formatIpv4(gatewayOf(subnet)),
    ...(subnet6 && {
      address6: formatAddress6(overlayAddress6(subnet6, allocation.address)),
      gateway6: formatAddress6(overlayAddress6(subnet6, gatewayOf(subnet))),
    }),
    public: publicEndpoints,
  }
}

function readSubnet(text: string) {
  const subnet = parseCidr(text)
  if (!subnet) throw new ServiceError('invalid', `"${text}" is no IPv4 prefix such as 10.77.0.0/16`)
  if (cidrHasHostBits(text)) {
    throw new ServiceError('invalid', `${text} names a host; the prefix is ${formatCidr(subnet)}`)
  }
  const special = unroutable(subnet)
  const problem = special
    ? `${formatCidr(subnet)} cannot be an overlay: these are ${special}; take a private prefix such as 10.77.0.0/16`
    : subnetProblem(subnet)
  if (problem) throw new ServiceError('invalid', problem)
  return subnet
}

function readSubnet6(text: string): Cidr6 {
  const subnet6 = parseCidr6(text)
  if (!subnet6) throw new ServiceError('invalid', `"${text}" is no IPv6 prefix such as fd12:3456:789a::/64`)
  if (cidr6HasHostBits(text)) {
    throw new ServiceError('invalid', `${text} names a host; the prefix is ${formatCidr6(subnet6)}`)
  }
  const problem = subnet6Problem(subnet6)
  if (problem) throw new ServiceError('invalid', problem)
  return subnet6
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}
