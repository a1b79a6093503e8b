// TLS inside the control channel: ciphertext comes from and goes to the reliability layer.
import { X509Certificate } from 'node:crypto'

/** What a channel reports. Nothing is called after `closed`. */
export interface TlsHandlers {
  /** Ciphertext for the peer. */
  output(bytes: Uint8Array): void
  /** The handshake is done. A server has to look at `certificateProblem` before it believes the peer anything. */
  secure(): void
  /** What the peer sent. */
  data(bytes: Uint8Array): void
  /** The handshake failed, or the peer closed. */
  closed(reason: string): void
}

/** Who a certificate is of. */
export interface PeerIdentity {
  /** Lower-case hexadecimal, two digits a byte. */
  serial: string
  /** The first of its subject; empty when it has none. */
  commonName: string
  /** SHA-256 of its DER, lower-case hexadecimal. */
  fingerprint: string
}

/** One TLS connection. Whoever has it closes it. */
export interface TlsChannel {
  /** Ciphertext from the peer, in order. */
  receive(bytes: Uint8Array): void
  /** One message in a TLS record of its own: stock clients lose the second of two that share one. */
  write(bytes: Uint8Array): void
  /** Keying material after RFC 5705, without a context. */
  exportKey(length: number, label: string): Uint8Array
  /** Of the certificate that the peer showed, trusted or not; undefined when it showed none. */
  readonly peer: PeerIdentity | undefined
  /** Why the peer's certificate is not to be trusted, in words; undefined when it is. */
  readonly certificateProblem: string | undefined
  /** Such as `TLSv1.3`. */
  readonly version: string
  close(): void
}

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface TlsCredentials {
  /** PEM: the leaf first, then its issuers. */
  cert: string
  /** PEM */
  key: string
  /** PEM: the mesh root, then issuing certificates, which may be newer than those that peers bring along. */
  ca: string[]
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g

/**
 * Whom client certificates may be issued by: the root, and those that it signed itself. Whoever else is named beside it
 * must not become one that is believed. @param ca see {@link TlsCredentials} @returns PEM, one certificate each
 */
export function trustedIssuers([root, ...issuing]: readonly string[]): string[] {
  const authority = new X509Certificate(root)
  const isSigned = (pem: string): boolean => {
    try {
      const certificate = new X509Certificate(pem)
      return certificate.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey)
    } catch {
      return false
    }
  }
  return [root, ...issuing.flatMap(pem => pem.match(CERTIFICATE) ?? []).filter(isSigned)]
}

/**
 * The server's end: client certificates are asked for and verified. A handshake goes through with a bad one too, so that
 * its owner can be told inside TLS what is wrong with it; by an alert, a client of TLS 1.3 learns nothing.
 */
export interface TlsServer {
  /** New handshakes use these; connections that are up stay as they are. */
  setCredentials(credentials: TlsCredentials): void
  accept(handlers: TlsHandlers): TlsChannel
}

/** Plaintext that waits for earlier records to leave, or for the handshake, in messages. */
export const MAX_WAITING = 64

/** It passes with time, and where the clock of the controller was set back it is no fault of the client. */
export const NOT_VALID_YET = 'this certificate is not valid yet; is the clock right?'

const CERTIFICATE_PROBLEMS: Record<string, string> = {
  CERT_HAS_EXPIRED: 'this certificate has expired',
  CERT_NOT_YET_VALID: NOT_VALID_YET,
  INVALID_PURPOSE: 'this certificate is not one for clients',
  UNABLE_TO_GET_ISSUER_CERT: 'no certificate, or not of this mesh',
}

/** What a client is told. @param code OpenSSL's name of the error, as Node shortens it */
export function certificateProblem(code: string): string {
  return CERTIFICATE_PROBLEMS[code] ?? 'this certificate is not of this mesh'
}
