// The certificates of this controller over time: server and issuing certificate are renewed well before they end, while
// the controller runs.
import { createPublicKey, X509Certificate } from 'node:crypto'
import type { ControllerValue, MeshValue } from '../state/kinds.ts'
import type { Config, DataDirectory } from './data-directory.ts'
import { type Home, readCertificate, readKey } from './home.ts'
import type { IkeCredentials } from './ipsec/tunnel.ts'
import { parseHostPort } from './net/ip.ts'
import { issueIssuingCa } from './pki/authority.ts'
import { formatPrivateKey, newPrivateKey, parsePrivateKey } from './pki/keys.ts'
import { nextCheck, renewalDue, renewalTime } from './pki/renewal.ts'
import { issueServerCertificate } from './pki/server.ts'
import { DEFAULT_PORT } from './push.ts'
import type { Status } from './service.ts'
import type { TlsCredentials } from './vpn/tls.ts'

export interface Renewal {
  certificate: 'server' | 'issuing'
  expiresAt: Date
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g

export class Certificates {
  readonly #home: Home
  #server: X509Certificate
  /** PEM */
  #serverKey: string

  private constructor(home: Home, server: X509Certificate, serverKey: string) {
    this.#home = home
    this.#server = server
    this.#serverKey = serverKey
  }

  static async open(home: Home): Promise<Certificates> {
    const { directory } = home
    const server = await readCertificate(directory, directory.serverCertificate)
    const key = await readKey(directory, directory.serverKey)
    const certificates = new Certificates(home, server, formatPrivateKey(key))
    // A crash between the writes of key and certificate leaves a pair that does not fit: a new one is made.
    if (!server.checkPrivateKey(key)) await certificates.#renewServer(Date.now())
    return certificates
  }

  /** For TLS: the chain without the root, and every issuing certificate of the mesh beside it. */
  tls(): TlsCredentials {
    const home = this.#home
    return {
      cert: this.#server.toString() + home.controller.certificateChain,
      key: this.#serverKey,
      ca: [home.rootCertificate, ...home.views.controllers().map(({ value }) => value.certificateChain)],
    }
  }

  /** For IKE: who this controller is, apart from what it chains to; PEM. */
  ike(): IkeCredentials {
    const chain = this.#home.controller.certificateChain.match(CERTIFICATE) ?? []
    return { certificate: this.#server.toString(), chain, key: this.#serverKey }
  }

  /** Renews what is due: what that was, and what is due but cannot be. @param now ms */
  async renew(now: number): Promise<{ renewed: Renewal[]; problem?: string }> {
    const renewed: Renewal[] = []
    let problem: string | undefined
    if (renewalDue(this.#home.issuingCertificate, now)) {
      const rootKey = await this.#home.directory.readIfThere(this.#home.directory.rootKey)
      if (rootKey === undefined) {
        problem =
          `the issuing certificate of this controller ends ${this.#home.issuingCertificate.validTo}; bring the key ` +
          'of the mesh root with `overmesh authority import`, and it is renewed'
      } else {
        renewed.push(await this.#renewIssuing(rootKey, now))
      }
    }
    if (renewalDue(this.#server, now)) renewed.push(await this.#renewServer(now))
    return { renewed, problem }
  }

  /** When to call `renew` again, ms since 1970. */
  nextCheck(now: number): number {
    const next = nextCheck([this.#server, this.#home.issuingCertificate], now)
    // Lifetimes of minutes exist where renewal is tried out; what is overdue waits for its next turn.
    const soonest = Math.min(renewalTime(this.#server), renewalTime(this.#home.issuingCertificate))
    return soonest > now ? Math.min(next, soonest) : next
  }

  /** In words why no client believes this controller any more; undefined when they do. @param now ms since 1970 */
  expired(now: number): string | undefined {
    const ends = [this.#server, this.#home.issuingCertificate].map(({ validToDate }) => validToDate.getTime())
    return Math.min(...ends) > now
      ? undefined
      : 'a certificate of this controller has ended; see `overmesh status`'
  }

  async status(): Promise<Status['certificates']> {
    const { directory, rootCertificate, issuingCertificate } = this.#home
    const rootKey = await directory.readIfThere(directory.rootKey)
    return {
      root: describe(new X509Certificate(rootCertificate), null, rootKey !== undefined),
      issuing: describe(issuingCertificate, renewalTime(issuingCertificate), true),
      server: describe(this.#server, renewalTime(this.#server), true),
    }
  }

  async #renewServer(now: number): Promise<Renewal> {
    const { directory, mesh, config, controller } = this.#home
    const { certificate, key } = await makeServerCertificate(directory, mesh, controller, config, now)
    this.#server = certificate
    this.#serverKey = key
    return { certificate: 'server', expiresAt: certificate.validToDate }
  }

  /** The same key and name, so that what it signed before still chains. */
  async #renewIssuing(rootKey: string, now: number): Promise<Renewal> {
    const { id, directory, config, replica, issuingKey, rootCertificate } = this.#home
    const { certificate, pem } = issueIssuingCa(
      { certificate: new X509Certificate(rootCertificate), privateKey: parsePrivateKey(rootKey) },
      {
        controllerId: id,
        controllerName: config.controller,
        publicKey: createPublicKey(issuingKey),
        now,
        lifetime: config.lifetimes.issuing,
      },
    )
    await directory.write(directory.issuingCertificate, pem)
    await replica.write(() => [
      { kind: 'controller', id, value: { ...this.#home.controller, certificateChain: pem } },
    ])
    return { certificate: 'issuing', expiresAt: certificate.validToDate }
  }
}

/** Makes a server certificate for the hosts that are dialled, with a new key, and puts both (PEM) into the directory. @param now ms */
export async function makeServerCertificate(
  directory: DataDirectory,
  mesh: { id: string; value: MeshValue },
  own: ControllerValue,
  config: Config,
  now: number,
): Promise<{ certificate: X509Certificate; key: string }> {
  const pair = newPrivateKey()
  const { certificate, pem } = issueServerCertificate(
    {
      certificate: new X509Certificate(own.certificateChain),
      privateKey: parsePrivateKey(await directory.read(directory.issuingKey)),
    },
    {
      meshName: mesh.value.name,
      meshId: mesh.id,
      controllerName: config.controller,
      publicKey: createPublicKey(pair),
      hosts: own.publicEndpoints.map(text => parseHostPort(text, DEFAULT_PORT).host),
      now,
      lifetime: config.lifetimes.server,
    },
  )
  const key = formatPrivateKey(pair)
  await directory.write(directory.serverKey, key)
  await directory.write(directory.serverCertificate, pem)
  return { certificate, key }
}

function describe(certificate: X509Certificate, renewsAt: number | null, keyPresent: boolean) {
  return {
    subject: /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '',
    expiresAt: certificate.validToDate.toISOString(),
    renewsAt: renewsAt === null ? null : new Date(renewsAt).toISOString(),
    keyPresent,
  }
}
