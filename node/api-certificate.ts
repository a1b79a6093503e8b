// The certificate of the API over TCP: for every name by which this controller may be reached, made when it is needed and
// again well before it ends. Its key is never written down: users of the API trust the mesh root.
import { createPublicKey, type X509Certificate } from 'node:crypto'
import { formatIpv4 } from '../state/address.ts'
import { gatewayOf } from '../state/allocator.ts'
import { addressesOf } from './addresses.ts'
import { type ApiSettings, readListen } from './api-settings.ts'
import { isDomainName, meshDomain, spellName } from './dns/names.ts'
import type { Home } from './home.ts'
import { parseHostPort } from './net/ip.ts'
import { issueApiCertificate } from './pki/api.ts'
import { formatPrivateKey, newPrivateKey } from './pki/keys.ts'
import { renewalDue, renewalTime } from './pki/renewal.ts'
import { MAX_HOSTS } from './pki/server.ts'
import { DEFAULT_PORT } from './push.ts'
import type { ApiState } from './service-api.ts'

export interface ApiCredentials {
  /** PEM, with the chain. */
  readonly cert: string
  /** PEM. */
  readonly key: string
}

interface Made {
  readonly certificate: X509Certificate
  readonly credentials: ApiCredentials
  readonly hosts: readonly string[]
  readonly chain: string
}

export class ApiCertificate {
  readonly #home: Home
  /** Addresses of this machine. */
  readonly #addresses: () => string[]
  #made: Made | undefined

  constructor(home: Home, addresses: () => string[]) {
    this.#home = home
    this.#addresses = addresses
  }

  /** The present one, or a new one if that is due or for other names than now. @param now ms */
  current(settings: ApiSettings, now: number): ApiCredentials {
    const hosts = this.#hosts(settings)
    const chain = this.#home.controller.certificateChain
    const made = this.#made
    const isGood =
      made !== undefined &&
      made.chain === chain &&
      !renewalDue(made.certificate, now) &&
      made.hosts.join() === hosts.join()
    this.#made = isGood ? made : this.#issue(hosts, chain, now)
    return this.#made.credentials
  }

  /** When the present one is to be renewed, ms since 1970. */
  get renewsAt(): number | undefined {
    return this.#made && renewalTime(this.#made.certificate)
  }

  describe(): ApiState['certificate'] {
    if (this.#made === undefined) return null
    const { certificate, hosts } = this.#made
    return {
      names: [...hosts],
      expiresAt: certificate.validToDate.toISOString(),
      renewsAt: new Date(renewalTime(certificate)).toISOString(),
    }
  }

  #issue(hosts: readonly string[], chain: string, now: number): Made {
    const { config, issuingCertificate, issuingKey } = this.#home
    const key = newPrivateKey()
    const { certificate, pem } = issueApiCertificate(
      { certificate: issuingCertificate, privateKey: issuingKey },
      {
        controllerName: config.controller,
        publicKey: createPublicKey(key),
        hosts,
        now,
        lifetime: config.lifetimes.server,
      },
    )
    return { certificate, credentials: { cert: pem + chain, key: formatPrivateKey(key) }, hosts, chain }
  }

  /** The most important first. */
  #hosts({ listen, names }: ApiSettings): string[] {
    const { mesh, controller, config } = this.#home
    const bound = listen.map(text => readListen(text).host)
    const isAnywhere = (host: string) => host === '0.0.0.0' || host === '::'
    const { address, address6 } = addressesOf(mesh, controller.address)
    const gateway = addressesOf(mesh, formatIpv4(gatewayOf(mesh.subnet)))
    const domain = meshDomain(mesh.value.name)
    const own = `${spellName(config.controller)}.${domain}`
    const overlay = [address, address6, gateway.address, gateway.address6].filter(each => each !== undefined)
    const hosts = [
      ...names,
      'localhost',
      '127.0.0.1',
      '::1',
      ...controller.publicEndpoints.map(text => parseHostPort(text, DEFAULT_PORT).host),
      ...bound.filter(host => !isAnywhere(host)),
      ...overlay,
      ...(domain !== undefined && isDomainName(own) ? [own] : []),
      ...(bound.some(isAnywhere) ? this.#addresses() : []),
    ]
    return [...new Set(hosts)].slice(0, MAX_HOSTS)
  }
}
