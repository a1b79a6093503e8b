// Whether a certificate that chains to the mesh root is that of a server we mean: openvpn(8), --remote-cert-tls and
// --verify-x509-name.
import type { X509Certificate } from 'node:crypto'
import type { Profile } from './profile.ts'

/** Extended key usage "TLS server", RFC 5280 section 4.2.1.12. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'

/** What is wrong with a server's certificate; undefined when nothing is. */
export function checkServer(
  { serverOnly, expectedName }: Pick<Profile, 'serverOnly' | 'expectedName'>,
  certificate: X509Certificate,
): Error | undefined {
  // Node calls the extended key usage keyUsage.
  const usage: readonly string[] = certificate.keyUsage ?? []
  if (serverOnly && !usage.includes(SERVER_AUTH)) return new Error('its certificate is not one for servers')
  if (!expectedName) return undefined
  const { kind, value } = expectedName
  const subject = certificate.subject.split('\n')
  const name = subject.find(part => part.startsWith('CN='))?.slice(3) ?? ''
  const fits =
    kind === 'subject'
      ? subject.join(', ') === value
      : kind === 'name'
        ? name === value
        : name.startsWith(value)
  return fits ? undefined : new Error(`its certificate is for "${name}", not for "${value}"`)
}
