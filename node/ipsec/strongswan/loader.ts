// Keeps what the daemon has loaded as it should be: connections, secrets, certificates and keys of the tunnels, and touches
// nothing of a tunnel that is the same as before.
import { createHash, randomBytes } from 'node:crypto'
import type { Tunnel } from '../engine.ts'
import type { ViciClient } from '../vici/client.ts'
import { ViciError } from '../vici/error.ts'
import { textOf } from '../vici/message.ts'
import { connectionMessage, isHostName, type Names, secretOwners } from './connection.ts'

/** A tunnel, and the addresses that its host name has. */
export interface Wanted {
  readonly tunnel: Tunnel
  readonly addresses: Names
}

interface Loaded {
  /** Tells whether its SAs are still as they should be. */
  readonly digest: string
  /** Tells whether this end's certificate is the same: SAs outlive it, as no rekey of IKEv2 shows it again. */
  readonly certificate: string
  /** Tells whether the remote end is still found where it was. */
  readonly addresses: string
  /** Identifier of its private key. */
  readonly key: string | undefined
  readonly tunnel: Tunnel
}

/** Certificates of tunnels that are gone stay with the daemon; past so many, all are loaded anew. */
const MAX_STALE_CERTIFICATES = 256

export class Loader {
  readonly #client: ViciClient
  readonly #loaded = new Map<string, Loaded>()
  /** A tunnel could not be loaded; never a secret. */
  readonly #onRefused: (tunnel: Tunnel, reason: string) => void
  /** Digests are kept in memory: without this they would tell of weak secrets. */
  readonly #salt = randomBytes(32)
  #certificates = 0

  constructor(client: ViciClient, onRefused: (tunnel: Tunnel, reason: string) => void) {
    this.#client = client
    this.#onRefused = onRefused
  }

  /**
   * Loads, replaces and unloads. A tunnel whose remote end's name has no addresses yet counts as not wanted.
   * @returns tunnels whose SAs are of other settings than theirs, or that are not wanted any more
   * @throws ViciError when the daemon is gone
   */
  async apply(all: readonly Wanted[]): Promise<string[]> {
    const wanted = all.filter(({ tunnel, addresses }) => !isHostName(tunnel.remote) || addresses.length > 0)
    const stale: string[] = []
    const ids = new Set(wanted.map(({ tunnel }) => tunnel.id))
    for (const id of [...this.#loaded.keys()]) {
      if (ids.has(id)) continue
      await this.#unload(id)
      stale.push(id)
    }
    for (const each of wanted) {
      const { id } = each.tunnel
      const before = this.#loaded.get(id)
      const digest = this.#digest(each.tunnel)
      const isCurrent =
        before?.addresses === each.addresses.join() && before.certificate === this.#certificateOf(each.tunnel)
      if (before?.digest === digest && isCurrent) continue
      if (before !== undefined && before.digest !== digest) {
        await this.#unload(id)
        stale.push(id)
      }
      try {
        await this.#load(each, digest)
      } catch (error) {
        const reason = refusal(error)
        if (reason === undefined) throw error
        await this.#unload(id)
        this.#onRefused(each.tunnel, reason)
      }
    }
    if (this.#certificates > MAX_STALE_CERTIFICATES + 4 * this.#loaded.size)
      await this.#renewCredentials(wanted)
    return stale
  }

  #digest({ initiate: _, takesOver: __, name: ___, authentication, ...settings }: Tunnel): string {
    const { method } = authentication
    const proof = method === 'psk' ? authentication.secret : Buffer.from(authentication.remoteAuthority)
    // An IKE SA of version 1 is made anew when it is rekeyed, with the certificate that it began with.
    const own = settings.ikeVersion === 1 && method === 'certificate' ? authentication.certificate : ''
    const text = JSON.stringify({ ...settings, method, proof: Buffer.from(proof).toString('base64'), own })
    return this.#hash(text)
  }

  #certificateOf({ authentication }: Tunnel): string {
    if (authentication.method === 'psk') return ''
    const { certificate, chain, key } = authentication
    return this.#hash(JSON.stringify([certificate, chain, key]))
  }

  #hash(text: string): string {
    return createHash('sha256').update(this.#salt).update(text).digest('base64')
  }

  async #load(wanted: Wanted, digest: string): Promise<void> {
    const { tunnel, addresses } = wanted
    const before = this.#loaded.get(tunnel.id)?.key
    const loaded = { digest, certificate: this.#certificateOf(tunnel), addresses: addresses.join(), tunnel }
    this.#loaded.set(tunnel.id, { ...loaded, key: before })
    const key = await this.#loadCredentials(wanted)
    this.#loaded.set(tunnel.id, { ...loaded, key })
    await this.#client.request('load-conn', connectionMessage(tunnel, tunnel.id, addresses))
    await this.#unloadKey(before)
  }

  /** @returns the identifier of the private key, where there is one */
  async #loadCredentials({ tunnel, addresses }: Wanted): Promise<string | undefined> {
    const { authentication, id } = tunnel
    if (authentication.method === 'psk') {
      const owners = secretOwners(tunnel, addresses)
      await this.#client.request('load-shared', { id, type: 'IKE', data: authentication.secret, owners })
      return undefined
    }
    for (const certificate of authentication.chain) {
      this.#certificates++
      await this.#client.request('load-cert', { type: 'X509', flag: 'CA', data: certificate })
    }
    this.#certificates += 2
    return textOf(await this.#client.request('load-key', { type: 'any', data: authentication.key }), 'id')
  }

  async #unload(id: string): Promise<void> {
    const loaded = this.#loaded.get(id)
    if (loaded === undefined) return
    this.#loaded.delete(id)
    await this.#ifThere('unload-conn', { name: id })
    if (loaded.tunnel.authentication.method === 'psk') await this.#ifThere('unload-shared', { id })
    await this.#unloadKey(loaded.key)
  }

  /** Unless a tunnel has it. */
  async #unloadKey(key: string | undefined): Promise<void> {
    const isShared = [...this.#loaded.values()].some(other => other.key === key)
    if (key !== undefined && !isShared) await this.#ifThere('unload-key', { id: key })
  }

  async #ifThere(command: string, message: Record<string, string>): Promise<void> {
    try {
      await this.#client.request(command, message)
    } catch (error) {
      // It was refused when it was to be loaded.
      if (refusal(error) === undefined) throw error
    }
  }

  async #renewCredentials(wanted: readonly Wanted[]): Promise<void> {
    await this.#client.request('clear-creds')
    this.#certificates = 0
    for (const each of wanted) {
      if (!this.#loaded.has(each.tunnel.id)) continue
      await this.#loadCredentials(each)
      // Its own certificate and the remote end's authority travel with the connection.
      await this.#client.request('load-conn', connectionMessage(each.tunnel, each.tunnel.id, each.addresses))
    }
  }
}

/** Why the daemon does not take something, or why it cannot even be sent; undefined for other errors. */
function refusal(error: unknown): string | undefined {
  if (error instanceof RangeError) return error.message
  return error instanceof ViciError && error.code === 'refused' ? error.message : undefined
}
