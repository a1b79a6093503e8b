// Whether the TLS of Node, which the controller uses, agrees about who may come in.
import assert from 'node:assert/strict'
import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { formatPrivateKey } from '../../../node/pki/keys.ts'
import { clientIdOf, overlayAddressOf, serverCommonName } from '../../../node/pki/names.ts'
import { CLIENT, clientOf, type Held, issuingCa, MESH, makePki, type Pki, YEAR } from './meshes.ts'

type Credential = Held<{ pem: string }>

interface Attempt {
  /** What the server trusts. */
  trusted: string[]
  server: Credential
  client: Credential
  /** What the server and the client send after their own certificates. */
  serverChain: string
  clientChain: string
  version: 'TLSv1.2' | 'TLSv1.3'
}

/** The client's certificate, or the reason for which the server refused it. */
async function handshake(attempt: Attempt): Promise<X509Certificate | string> {
  const { trusted, server, client, serverChain, clientChain, version } = attempt
  const listener = createServer({
    ca: trusted,
    cert: server.pem + serverChain,
    key: formatPrivateKey(server.privateKey),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: version,
    maxVersion: version,
  })
  const verdict = new Promise<X509Certificate | string>(resolve => {
    listener.on('secureConnection', (socket: TLSSocket) => {
      resolve(socket.getPeerX509Certificate()!)
      socket.destroy()
    })
    // The error itself only says that the connection ended.
    listener.on('tlsClientError', (error, socket) => resolve(String(socket.authorizationError ?? error)))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const socket = connect({
    ...{ host: '127.0.0.1', port: (listener.address() as AddressInfo).port },
    // Who the server is, is not what this is about; openvpn(8) checks it in another test.
    rejectUnauthorized: false,
    cert: client.pem + clientChain,
    key: formatPrivateKey(client.privateKey),
  })
  socket.on('error', () => {})
  try {
    return await verdict
  } finally {
    socket.destroy()
    listener.close()
  }
}

const attemptOf = ({ root, issuing, server, client }: Pki): Attempt => ({
  ...{ trusted: [root.pem, issuing.pem], server, client },
  ...{ serverChain: issuing.pem, clientChain: issuing.pem, version: 'TLSv1.3' },
})

test('a client of the mesh is let in, by TLS 1.3 and 1.2, and recognised', async () => {
  const attempt = attemptOf(makePki())
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const certificate = await handshake({ ...attempt, version })
    assert.ok(typeof certificate !== 'string', String(certificate))
    assert.equal(clientIdOf(certificate), CLIENT.clientId)
    assert.equal(overlayAddressOf(certificate), 0x0a4d0009)
  }
})

test('the root alone is trust enough', async () => {
  const pki = makePki()
  const certificate = await handshake({ ...attemptOf(pki), trusted: [pki.root.pem] })
  assert.ok(typeof certificate !== 'string', String(certificate))
})

test('a client of another mesh of the same name is refused', async () => {
  const other = makePki()
  const attempt = { ...attemptOf(makePki()), client: other.client }
  assert.match(String(await handshake(attempt)), /UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE/)
  assert.match(
    String(await handshake({ ...attempt, clientChain: other.issuing.pem })),
    /UNABLE_TO_GET_ISSUER_CERT|CERT_SIGNATURE_FAILURE/,
  )
  assert.match(
    String(await handshake({ ...attempt, clientChain: other.issuing.pem + other.root.pem })),
    /SELF_SIGNED_CERT_IN_CHAIN|CERT_SIGNATURE_FAILURE/,
  )
})

test('an expired client, and one from the future, are refused', async () => {
  const pki = makePki(Date.now() - YEAR)
  const attempt = attemptOf(pki)
  const server = makePki(Date.now() - 1000).server
  const expired = clientOf(pki.issuing, Date.now() - 7200_000, 3600)
  assert.equal(await handshake({ ...attempt, server, client: expired }), 'CERT_HAS_EXPIRED')
  const early = clientOf(pki.issuing, Date.now() + 3600_000, 3600)
  assert.equal(await handshake({ ...attempt, server, client: early }), 'CERT_NOT_YET_VALID')
})

test('a server certificate, an issuing CA and a certificate signed by a client are no clients', async () => {
  const pki = makePki()
  const attempt = attemptOf(pki)
  assert.equal(await handshake({ ...attempt, client: pki.server }), 'INVALID_PURPOSE')
  const forged = clientOf(pki.client, Date.now())
  const refusal = await handshake({
    ...attempt,
    client: forged,
    clientChain: pki.client.pem + pki.issuing.pem,
  })
  assert.ok(typeof refusal === 'string', 'a client is no authority')
})

test('a client whose pack holds an expired issuing certificate is let in once that is renewed', async () => {
  const start = Date.now() - 11 * YEAR
  const { root, issuing } = makePki(start)
  const renewed = issuingCa(root, Date.now() - YEAR, issuing.privateKey)
  const server = makePki().server
  const client = clientOf(issuing, start + 8 * YEAR)
  const attempt: Attempt = {
    ...{ server, client, serverChain: '', clientChain: issuing.pem, version: 'TLSv1.3' },
    trusted: [root.pem, issuing.pem],
  }
  assert.equal(await handshake(attempt), 'CERT_HAS_EXPIRED')
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const certificate = await handshake({ ...attempt, version, trusted: [root.pem, renewed.pem] })
    assert.ok(typeof certificate !== 'string', String(certificate))
  }
})

test('the server shows the common name that clientpacks ask for', async () => {
  const { server } = makePki()
  const commonName = serverCommonName(MESH.meshName, MESH.meshId)
  assert.equal(server.certificate.toLegacyObject().subject.CN, commonName)
})
