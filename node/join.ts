// A machine becomes a controller of a mesh that it was invited to: the newcomer's end of the join.
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { rm } from 'node:fs/promises'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  type JoinMessage,
  type SpokenMessage,
} from '../mesh/admission/messages.ts'
import { inviteKey, proveInvited, provePossession } from '../mesh/admission/proof.ts'
import { type InviteToken, parseToken, TokenError } from '../mesh/admission/token.ts'
import { DialJoinError, dialJoin, type JoinConnection } from '../mesh/libp2p/dial-join.ts'
import type { FrameStream } from '../mesh/libp2p/frame-stream.ts'
import { JOINING } from '../mesh/versions.ts'
import packageJson from '../package.json' with { type: 'json' }
import { formatIpv4 } from '../state/address.ts'
import { gatewayOf, nextAddress } from '../state/allocator.ts'
import { certificateTrust } from '../state/authority.ts'
import { type ControllerId, controllerIdOf } from '../state/kinds.ts'
import { LevelStore } from '../state/level-store.ts'
import { encodeRecord, isSignedByAsync, rawPublicKey } from '../state/record.ts'
import { Replica } from '../state/replica.ts'
import { withKnown } from '../state/vector.ts'
import { Views } from '../state/views.ts'
import { addressesOf } from './addresses.ts'
import { checkListen } from './api-settings.ts'
import { CONFIG_VERSION, DataDirectory } from './data-directory.ts'
import { checkDialable } from './dialable.ts'
import type { InitResult } from './init.ts'
import { meshEndpointsOf, publicEndpointsOf } from './mesh-endpoints.ts'
import { parseHostPort } from './net/ip.ts'
import { checkNewName } from './new-names.ts'
import { formatPrivateKey, newPrivateKey } from './pki/keys.ts'
import { issueServerCertificate } from './pki/server.ts'
import { DEFAULT_PORT } from './push.ts'
import { ServiceError } from './service-error.ts'
import { parseTlsCryptV2ServerKey } from './vpn/static-key.ts'

export interface JoinRequest {
  dataDir: string
  token: string
  /** Name of this controller. */
  controller: string
  /** `host[:port]`, UDP. */
  public: readonly string[]
  /** `host:port`, UDP. */
  listen: readonly string[]
  /** `host:port`, TCP. */
  meshListen: string
  /** `host:port`, TCP, of the API. @default nowhere */
  apiListen?: readonly string[]
  /** What is being done now, for a person. */
  onProgress?: (doing: string) => void
}

export interface JoinResult extends InitResult {
  meshName: string
  subnet: string
  /** Undefined where the overlay has IPv4 only. */
  subnet6?: string
  /** Records that the mesh has. */
  records: number
}

/** ms to reach the controller that invited at each endpoint, and for each of its answers. */
const DIAL_MS = 10_000
const ANSWER_MS = 60_000
/** Addresses that are tried, where each is leased to another before the inviter hears of it. */
const MAX_CHOICES = 5

/**
 * @throws ServiceError that says why not; the data directory is empty then
 * @throws DataDirectoryError when it is not empty; nothing in it is touched
 */
export async function joinMesh(request: JoinRequest): Promise<JoinResult> {
  checkNewName(request.controller)
  const token = readToken(request.token)
  const apiListen = checkListen(request.apiListen ?? [])
  const publicEndpoints = publicEndpointsOf(request.public, request.listen)
  const directory = new DataDirectory(request.dataDir)
  await directory.claim()
  const identity = generateKeyPairSync('ed25519')
  request.onProgress?.(`dialling ${token.endpoints.join(', ')}`)
  const connection = await dial(token, identity.privateKey)
  try {
    return await join({
      request,
      apiListen,
      token,
      publicEndpoints,
      directory,
      identity,
      stream: connection.stream,
    })
  } catch (error) {
    // Nothing of it is of any use without the mesh.
    for (const path of directory.everything()) await rm(path, { recursive: true, force: true })
    throw error
  } finally {
    await connection.close()
  }
}

interface Join {
  request: JoinRequest
  apiListen: string[]
  token: InviteToken
  publicEndpoints: string[]
  directory: DataDirectory
  identity: { privateKey: KeyObject; publicKey: KeyObject }
  stream: FrameStream
}

async function join(parts: Join): Promise<JoinResult> {
  const { request, token, directory, identity, stream } = parts
  const publicKey = rawPublicKey(identity.publicKey)
  const id = controllerIdOf(publicKey)
  const issuingKey = newPrivateKey()
  const knock: SpokenMessage = {
    type: 'join',
    version: JOINING.lowest,
    highest: JOINING.highest,
    software: packageJson.version,
    inviteId: token.inviteId,
    proof: proveInvited(inviteKey(token.secret), publicKey, token.inviter),
    now: Date.now(),
    name: request.controller,
    publicKey: createPublicKey(issuingKey).export({ type: 'spki', format: 'der' }),
    possession: provePossession(issuingKey, publicKey, token.inviter),
  }
  say(stream, knock, closed)
  const admitted = await hear(stream, ['admitted'], closed)
  if (admitted.version < JOINING.lowest || admitted.version > JOINING.highest) throw strange()
  const issuing = check(token, admitted, id, issuingKey)
  await directory.write(directory.identityKey, pem(identity.privateKey))
  await directory.write(directory.rootCertificate, admitted.rootCertificate)
  await directory.write(directory.issuingKey, formatPrivateKey(issuingKey))
  await directory.write(directory.issuingCertificate, admitted.issuingCertificate)
  await directory.write(directory.tlsCryptKey, admitted.tlsCryptKey)

  for (let choices = MAX_CHOICES - 1; ; choices--) {
    const result = await settle(parts, { id, issuingKey, issuing, admitted, again: choices > 0 })
    if (result !== undefined) return result
    // What was written there is known to nobody, and must not be: the address is another's.
    await rm(directory.state, { recursive: true, force: true })
  }
}

interface Admitted {
  id: ControllerId
  issuingKey: KeyObject
  issuing: X509Certificate
  admitted: JoinMessage & { type: 'admitted' }
  /** Whether another address may be chosen when the first one is taken. */
  again: boolean
}

/** Gets all records and adds this controller's own; undefined when its address was leased to another meanwhile. */
async function settle(
  parts: Join,
  { id, issuingKey, issuing, admitted, again }: Admitted,
): Promise<JoinResult | undefined> {
  const { request, apiListen, directory, identity, stream } = parts
  const store = await LevelStore.open(directory.state, { create: true })
  const replica = await Replica.open({
    store,
    identity: { id, privateKey: identity.privateKey },
    trust: certificateTrust(admitted.rootCertificate),
    now: Date.now,
    random: randomBytes,
    isSigned: isSignedByAsync,
  })
  try {
    request.onProgress?.('fetching the records of the mesh')
    await fetchRecords(stream, replica)
    request.onProgress?.(`${replica.count} records are here; telling the mesh of this controller`)
    const facts = await introduce(parts, replica, id, admitted.issuingCertificate, again)
    const serverKey = newPrivateKey()
    const server = issueServerCertificate(
      { certificate: issuing, privateKey: issuingKey },
      {
        meshName: facts.meshName,
        meshId: facts.meshId,
        controllerName: request.controller,
        publicKey: createPublicKey(serverKey),
        hosts: parts.publicEndpoints.map(endpoint => parseHostPort(endpoint, DEFAULT_PORT).host),
        now: Date.now(),
        lifetime: admitted.lifetimes.server,
      },
    )
    await directory.write(directory.serverKey, formatPrivateKey(serverKey))
    await directory.write(directory.serverCertificate, server.pem)
    const answer = await hear(stream, again ? ['welcome', 'taken'] : ['welcome'])
    if (answer.type === 'taken') return undefined
    // Last: a directory without it was never used.
    await directory.writeConfig({
      version: CONFIG_VERSION,
      controller: request.controller,
      controllerId: id,
      listen: [...request.listen],
      meshListen: request.meshListen,
      ...(apiListen.length > 0 && { api: { listen: apiListen, names: [] } }),
      lifetimes: admitted.lifetimes,
    })
    return { ...facts, controllerId: id, public: parts.publicEndpoints, records: replica.count }
  } finally {
    await replica.close()
  }
}

/** The controller that answered must be of the mesh that the token is for. */
function check(
  token: InviteToken,
  admitted: JoinMessage & { type: 'admitted' },
  id: ControllerId,
  issuingKey: KeyObject,
): X509Certificate {
  try {
    const root = new X509Certificate(admitted.rootCertificate)
    const fingerprint = Buffer.from(root.fingerprint256.replaceAll(':', ''), 'hex')
    const issuing = new X509Certificate(admitted.issuingCertificate)
    const isGood =
      fingerprint.equals(token.rootFingerprint) &&
      admitted.meshId === token.meshId &&
      issuing.ca &&
      issuing.checkIssued(root) &&
      issuing.verify(root.publicKey) &&
      issuing.checkPrivateKey(issuingKey) &&
      (issuing.subjectAltName ?? '').split(', ').includes(`URI:overmesh:controller:${id}`) &&
      parseTlsCryptV2ServerKey(admitted.tlsCryptKey) !== undefined
    if (isGood) return issuing
  } catch {
    // Said below.
  }
  throw new ServiceError('refused', 'the controller that answered is not of the mesh that the token is for')
}

/**
 * Fetches all records. The next part is asked for before the one that came is taken in, by what the inviter says is known
 * with it; a last look makes sure that this was so. What is sent again whatever is known, as it is of a life that is not
 * accounted for, is no reason to look once more.
 */
async function fetchRecords(stream: FrameStream, replica: Replica): Promise<void> {
  for (;;) {
    const progress = progressOf(replica)
    const inner = progressOf(replica)
    let vector = replica.vector()
    // Two at once: while one part is put in its place, the signatures of the next are checked.
    let [earlier, working]: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()]
    let isFirst = true
    for (;;) {
      say(stream, { type: 'vector', vector })
      const delta = await hear(stream, ['delta'])
      await earlier
      if (isFirst && delta.records.length === 0) return
      earlier = working
      working = replica.absorb(delta)
      // It is waited for in its turn, and may fail before that.
      working.catch(() => {})
      if (!delta.more) break
      if (isFirst || Object.keys(delta.known).length === 0) {
        // The records of controllers come first and out of their order: what is known does not tell of them.
        await working
        if (!inner()) break
        vector = replica.vector()
      } else vector = withKnown(vector, delta.known)
      isFirst = false
    }
    await working
    if (!progress()) return
  }
}

/** Tells whether records came since it was last asked. */
function progressOf(replica: Replica): () => boolean {
  let [vector, version] = [replica.vector(), replica.version]
  return () => {
    const before = [vector, version]
    ;[vector, version] = [replica.vector(), replica.version]
    return vector !== before[0] || version !== before[1]
  }
}

/** Writes this controller's own records, and tells them. */
async function introduce(
  { request, publicEndpoints, identity, stream }: Join,
  replica: Replica,
  id: ControllerId,
  certificateChain: string,
  again: boolean,
) {
  const views = new Views(replica)
  try {
    const mesh = views.mesh()
    const addresses = views.addresses()
    if (mesh === undefined || addresses === undefined) {
      throw new ServiceError('failed', 'the controller that answered sent no records of its mesh')
    }
    checkDialable(publicEndpoints, mesh, ', and join with a new token: this one is used up')
    const allocation = nextAddress({ ...addresses, controllers: [...addresses.controllers, id] }, id)
    if (!allocation.ok) throw new ServiceError('refused', allocation.message)
    const address = formatIpv4(allocation.address)
    await replica.write([
      {
        kind: 'controller',
        id,
        value: {
          name: request.controller,
          publicKey: Buffer.from(rawPublicKey(identity.publicKey)).toString('hex'),
          certificateChain,
          address,
          publicEndpoints,
          meshEndpoints: meshEndpointsOf(request.meshListen, publicEndpoints),
          joinedAt: Date.now(),
        },
      },
      { kind: 'lease', id: address, value: { holder: id, holderKind: 'controller' } },
    ])
    const own = [replica.record('controller', id)!, replica.record('lease', address)!]
    say(stream, { type: 'own', records: own.map(encodeRecord), again })
    const gateway = addressesOf(mesh, formatIpv4(gatewayOf(mesh.subnet)))
    return {
      meshId: mesh.id,
      meshName: mesh.value.name,
      subnet: mesh.value.subnet,
      subnet6: mesh.value.subnet6,
      gateway: gateway.address,
      gateway6: gateway.address6,
      ...addressesOf(mesh, address),
    }
  } finally {
    views.close()
  }
}

function readToken(text: string): InviteToken {
  try {
    const token = parseToken(text)
    if (Date.now() < token.expiresAt) return token
    throw new TokenError(
      `the token expired at ${new Date(token.expiresAt).toISOString()}; ask for a new one with \`overmesh invite\``,
    )
  } catch (error) {
    if (error instanceof TokenError) throw new ServiceError('invalid', error.message)
    throw error
  }
}

async function dial(token: InviteToken, privateKey: KeyObject): Promise<JoinConnection> {
  try {
    return await dialJoin({
      privateKey,
      endpoints: token.endpoints,
      publicKey: token.inviter,
      timeoutMs: DIAL_MS,
    })
  } catch (error) {
    if (!(error instanceof DialJoinError)) throw error
    throw new ServiceError(
      'failed',
      `the controller that invited is not reached at ${error.message}, over TCP; it must run, be reachable there, and ` +
        'know the token still',
      { cause: error },
    )
  }
}

function say(stream: FrameStream, message: SpokenMessage, atEnd: () => ServiceError = ended): void {
  if (!stream.send(encodeJoinMessage(message))) throw atEnd()
}

async function hear<T extends JoinMessage['type']>(
  stream: FrameStream,
  types: readonly T[],
  atEnd: () => ServiceError = ended,
): Promise<JoinMessage & { type: T }> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = setTimeout(() => resolve(undefined), ANSWER_MS)
  try {
    const frame = await Promise.race([stream.receive(), promise])
    if (frame === undefined) throw atEnd()
    const message = decodeJoinMessage(frame)
    if (message?.type === 'refused') throw new ServiceError('refused', message.reason)
    if (!types.includes(message?.type as T)) throw strange()
    return message as JoinMessage & { type: T }
  } finally {
    clearTimeout(timer)
  }
}

function strange(): ServiceError {
  return new ServiceError(
    'failed',
    'the controller that answered does not speak as this version does; run the same version of Overmesh on both',
  )
}

/** The stream ended before anything was asked for or given. */
function closed(): ServiceError {
  return new ServiceError(
    'failed',
    'the controller that invited ended the connection: it lets nobody join now; make a new token there with `overmesh invite`',
  )
}

function ended(): ServiceError {
  return new ServiceError(
    'failed',
    'the connection to the controller that invited ended before the join was complete; if `overmesh controller list` ' +
      'there shows this controller, remove it; then join with a new token',
  )
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}
