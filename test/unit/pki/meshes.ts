// A mesh's certificates for tests, and the openssl and openvpn of this machine to judge them.
import type { KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createMeshRoot, issueIssuingCa } from '../../../node/pki/authority.ts'
import type { Issued, Issuer } from '../../../node/pki/certificate.ts'
import { type ClientCertificate, issueClientCertificate } from '../../../node/pki/client.ts'
import type { ClientpackRequest, Remote } from '../../../node/pki/clientpack.ts'
import { formatPrivateKey, newPrivateKey, publicKeyOf } from '../../../node/pki/keys.ts'
import { LIFETIMES } from '../../../node/pki/renewal.ts'
import { issueServerCertificate } from '../../../node/pki/server.ts'
import { attempt, run } from '../../lab/command.ts'

export const MESH = { meshName: 'prod', meshId: '00112233445566778899' }
export const CONTROLLER = { controllerId: '0123456789abcdef0123', controllerName: 'alpha' }
export const CLIENT = { clientId: 'fedcba9876543210', clientName: 'web', address: '10.77.0.9' }
export const DAY = 86_400_000
export const YEAR = 365 * DAY

export type Held<T> = T & { privateKey: KeyObject }

export interface Pki {
  root: Issued & Issuer
  issuing: Held<Issued>
  server: Held<Issued>
  client: Held<ClientCertificate>
}

/** A root, an issuing CA, and a server and a client certificate below it, made at `now` with the usual lifetimes. */
export function makePki(now = Date.now()): Pki {
  const root = createMeshRoot({ ...MESH, now, lifetime: LIFETIMES.root })
  const issuing = issuingCa(root, now)
  return { root, issuing, server: serverOf(issuing, now), client: clientOf(issuing, now) }
}

export function issuingCa(root: Issuer, now: number, privateKey = newPrivateKey()): Held<Issued> {
  const publicKey = publicKeyOf(privateKey)
  return {
    privateKey,
    ...issueIssuingCa(root, { ...CONTROLLER, publicKey, now, lifetime: LIFETIMES.issuing }),
  }
}

export function serverOf(
  issuing: Issuer,
  now: number,
  hosts = ['vpn.example.net', '192.0.2.1', '2001:db8::1'],
) {
  const privateKey = newPrivateKey()
  const request = { ...MESH, ...CONTROLLER, publicKey: publicKeyOf(privateKey), hosts, now }
  return { privateKey, ...issueServerCertificate(issuing, { ...request, lifetime: LIFETIMES.server }) }
}

export function clientOf(issuing: Issuer, now: number, lifetime: number = LIFETIMES.client) {
  const privateKey = newPrivateKey()
  const request = { ...CLIENT, publicKey: publicKeyOf(privateKey), now, lifetime }
  return { privateKey, ...issueClientCertificate(issuing, request) }
}

/** What a clientpack of the client is made of. Its tls-crypt-v2 key fits no server. */
export function packOf({ root, issuing, client }: Pki, remotes: readonly Remote[]): ClientpackRequest {
  return {
    ...MESH,
    clientName: CLIENT.clientName,
    address: CLIENT.address,
    madeBy: CONTROLLER.controllerName,
    madeAt: Date.UTC(2026, 0, 2, 3, 4, 5),
    expiresAt: client.notAfter,
    serial: client.serial,
    remotes,
    root: root.pem,
    certificate: client.pem,
    chain: issuing.pem,
    privateKey: formatPrivateKey(client.privateKey),
    tlsCryptV2: pem('OpenVPN tls-crypt-v2 client key', Buffer.alloc(256 + 299, 7)),
  }
}

export function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}

/** A directory for the time of the test. Returns a function that writes a file there and says where it is. */
export function scratch(t: TestContext): (name: string, content: string | Uint8Array) => string {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-pki-'))
  t.after(() => rmSync(directory, { recursive: true }))
  return (name, content) => {
    const path = join(directory, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
}

/** Runs `openssl`, which must succeed; returns what it says. */
export const openssl = (...args: string[]): Promise<string> => run(['openssl', ...args])

/** Runs `openssl`, which must fail; returns what it says. */
export async function opensslRefuses(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await attempt(['openssl', ...args])
  if (code === 0) throw new Error(`openssl ${args.join(' ')} succeeded\n${stdout}`)
  return stdout + stderr
}
