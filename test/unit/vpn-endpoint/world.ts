// A mesh's credentials and an endpoint for tests, without sockets.
import { createPublicKey, randomBytes } from 'node:crypto'
import { createMeshRoot, issueIssuingCa } from '../../../node/pki/authority.ts'
import type { Issued, Issuer } from '../../../node/pki/certificate.ts'
import { issueClientCertificate } from '../../../node/pki/client.ts'
import { formatClientpack, type Remote } from '../../../node/pki/clientpack.ts'
import { formatPrivateKey, newPrivateKey } from '../../../node/pki/keys.ts'
import { issueServerCertificate } from '../../../node/pki/server.ts'
import { pushOptions } from '../../../node/push.ts'
import { ControlKeys } from '../../../node/switch/sys/control-keys.ts'
import { DATA_CIPHERS } from '../../../node/vpn/data-keys.ts'
import type { DataPlane } from '../../../node/vpn/data-plane.ts'
import { type EndpointInit, VpnEndpoint } from '../../../node/vpn/endpoint.ts'
import type { Applicant, Verdict } from '../../../node/vpn/session.ts'
import { formatTlsCryptV2ClientKey } from '../../../node/vpn/static-key.ts'
import { StreamTlsServer } from '../../../node/vpn/stream-tls.ts'
import type { TlsCredentials } from '../../../node/vpn/tls.ts'
import { generateClientKey, generateServerKey, TlsCryptV2Server } from '../../../node/vpn/tls-crypt-v2.ts'
import { newTlsServer } from '../../../node/vpn/tls-server.ts'
import { type OverlayAddress, parseIpv4 } from '../../../state/address.ts'

const HOUR = 3600
/** `stream` in this variable: endpoints do without what is done by calls to OpenSSL. */
export const ENGINE = 'OVERMESH_TEST_ENGINE'
export const SUBNET = { address: parseIpv4('10.77.0.0')!, length: 24 } as const
export const GATEWAY = parseIpv4('10.77.0.1')!

export interface PackOptions {
  remotes?: Remote[]
  /** Seconds, from `at` on. */
  lifetime?: number
  /** ms since 1970 at which the certificate was made. */
  at?: number
  /** What stands in the certificate; the name of the client when left out. */
  commonName?: string
  id?: string
}

/** A root, an issuing CA, a server and its tls-crypt-v2 key, and clients that are known. */
export class World {
  readonly serverKey = generateServerKey(randomBytes)
  readonly root: Issued & Issuer
  readonly issuing: Issued & Issuer
  readonly credentials: TlsCredentials
  /** By serial. */
  readonly clients = new Map<string, { name: string; id: string; address: OverlayAddress }>()
  readonly #wrapping = new TlsCryptV2Server(this.serverKey)
  #next = 10

  constructor() {
    const now = Date.now()
    this.root = createMeshRoot({ meshName: 'prod', meshId: 'aa'.repeat(10), now, lifetime: 24 * HOUR })
    const issuingKey = newPrivateKey()
    const issuing = issueIssuingCa(this.root, {
      controllerId: '01'.repeat(10),
      controllerName: 'alpha',
      publicKey: createPublicKey(issuingKey),
      now,
      lifetime: 12 * HOUR,
    })
    this.issuing = { ...issuing, privateKey: issuingKey }
    const serverKey = newPrivateKey()
    const server = issueServerCertificate(this.issuing, {
      meshName: 'prod',
      meshId: 'aa'.repeat(10),
      controllerName: 'alpha',
      publicKey: createPublicKey(serverKey),
      hosts: ['127.0.0.1'],
      now,
      lifetime: HOUR,
    })
    this.credentials = {
      cert: server.pem + this.issuing.pem,
      key: formatPrivateKey(serverKey),
      ca: [this.root.pem, this.issuing.pem],
    }
  }

  /** The text of a clientpack; the client is known from now on. */
  pack(name: string, options: PackOptions = {}): string {
    const { remotes = [{ host: '127.0.0.1', port: 1194 }], at = Date.now(), lifetime = HOUR } = options
    const privateKey = newPrivateKey()
    const address = (SUBNET.address + this.#next++) as OverlayAddress
    const text = `10.77.0.${address & 255}`
    const id = options.id ?? randomBytes(8).toString('hex')
    const issued = issueClientCertificate(this.issuing, {
      clientId: id,
      clientName: options.commonName ?? name,
      address: text,
      publicKey: createPublicKey(privateKey),
      now: at,
      lifetime,
    })
    this.clients.set(issued.serial, { name, id, address })
    return formatClientpack({
      meshName: 'prod',
      meshId: 'aa'.repeat(10),
      clientName: name,
      address: text,
      madeBy: 'alpha',
      madeAt: at,
      expiresAt: issued.notAfter,
      serial: issued.serial,
      remotes,
      root: this.root.pem,
      certificate: issued.pem,
      chain: this.issuing.pem,
      privateKey: formatPrivateKey(privateKey),
      tlsCryptV2: this.clientKey(),
    })
  }

  /** PEM of a new tls-crypt-v2 client key. */
  clientKey(): string {
    return formatTlsCryptV2ClientKey(generateClientKey(this.#wrapping, Buffer.from('test'), randomBytes))
  }

  /** Whoever is known and bears its own name comes in. */
  admit({ serial, commonName }: Pick<Applicant, 'serial' | 'commonName'>): Verdict {
    const client = this.clients.get(serial)
    if (!client) return { ok: false, reason: 'this certificate is unknown' }
    if (client.name !== commonName) return { ok: false, reason: 'this certificate bears another name' }
    return { ok: true, client: client.id, name: client.name, address: client.address, subnets: [] }
  }

  endpoint(plane: DataPlane, options: EndpointOptions = {}): Running {
    const { settings, ...rest } = options
    const log: string[] = []
    const endpoint = new VpnEndpoint({
      serverKey: this.serverKey,
      tls:
        process.env[ENGINE] === 'stream'
          ? new StreamTlsServer(this.credentials)
          : newTlsServer(this.credentials),
      wrapKeys:
        process.env[ENGINE] === 'stream' ? undefined : (cipher, hmac) => new ControlKeys(cipher, hmac),
      plane,
      settings: {
        ciphers: DATA_CIPHERS,
        handshakeMs: 60_000,
        renegotiationMs: 3_600_000,
        pingSeconds: 1,
        timeoutSeconds: 10,
        mtu: 1420,
        ...settings,
      },
      admit: applicant => this.admit(applicant),
      push: ({ address }) => pushOptions({ address, subnet: SUBNET, gateway: GATEWAY, routes: [] }),
      opened: session => {
        log.push(`up ${session.name}`)
        session.reachable()
      },
      ended: (session, reason) => log.push(`down ${session.name}: ${reason}`),
      refused: (_session, reason) => log.push(`refused: ${reason}`),
      now: Date.now,
      date: Date.now,
      random: randomBytes,
      ...rest,
    })
    return { endpoint, log }
  }
}

export type EndpointOptions = Partial<Omit<EndpointInit, 'settings'>> & {
  settings?: Partial<EndpointInit['settings']>
}

export interface Running {
  endpoint: VpnEndpoint
  /** `up NAME`, `down NAME: REASON`, `refused: REASON` */
  log: string[]
}
