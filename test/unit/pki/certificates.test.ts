import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { createMeshRoot, issueIssuingCa, meshNameOf } from '../../../node/pki/authority.ts'
import { BACKDATED_SECONDS } from '../../../node/pki/certificate.ts'
import { issueClientCertificate } from '../../../node/pki/client.ts'
import { PkiError, type PkiErrorCode } from '../../../node/pki/errors.ts'
import { formatPrivateKey, newPrivateKey, parsePrivateKey, publicKeyOf } from '../../../node/pki/keys.ts'
import {
  clientIdOf,
  controllerIdOf,
  fingerprintOf,
  overlayAddressOf,
  serialOf,
  serverCommonName,
} from '../../../node/pki/names.ts'
import { LIFETIMES } from '../../../node/pki/renewal.ts'
import { issueServerCertificate } from '../../../node/pki/server.ts'
import {
  CLIENT,
  CONTROLLER,
  clientOf,
  issuingCa,
  MESH,
  makePki,
  openssl,
  opensslRefuses,
  scratch,
  serverOf,
} from './meshes.ts'

const NOW = Date.UTC(2026, 5, 1)
const refusedAs = (code: PkiErrorCode) => (error: unknown) => error instanceof PkiError && error.code === code

test('openssl takes each certificate for its purpose, strictly, and for no other', async t => {
  const write = scratch(t)
  const { root, issuing, server, client } = makePki()
  const ca = write('root.pem', root.pem)
  const chain = ['-x509_strict', '-CAfile', ca, '-untrusted', write('issuing.pem', issuing.pem)]
  const [clientFile, serverFile] = [write('client.pem', client.pem), write('server.pem', server.pem)]
  await openssl('verify', ...chain, '-purpose', 'sslclient', clientFile)
  await openssl('verify', ...chain, '-purpose', 'sslserver', serverFile)
  assert.match(await opensslRefuses('verify', ...chain, '-purpose', 'sslserver', clientFile), /purpose/)
  assert.match(await opensslRefuses('verify', ...chain, '-purpose', 'sslclient', serverFile), /purpose/)
  const verifyHost = ['verify', ...chain, '-purpose', 'sslserver']
  await openssl(...verifyHost, '-verify_hostname', 'vpn.example.net', serverFile)
  await openssl(...verifyHost, '-verify_ip', '192.0.2.1', serverFile)
  await openssl(...verifyHost, '-verify_ip', '2001:db8::1', serverFile)
  await opensslRefuses(...verifyHost, '-verify_hostname', 'other.example.net', serverFile)
})

test('an issuing CA cannot make another CA that counts', async t => {
  const write = scratch(t)
  const { root, issuing } = makePki()
  const privateKey = newPrivateKey()
  const other = { controllerId: 'f'.repeat(20), controllerName: 'beta', publicKey: publicKeyOf(privateKey) }
  const below = issueIssuingCa(issuing, { ...other, now: Date.now(), lifetime: 3600 })
  const client = clientOf({ certificate: below.certificate, privateKey }, Date.now())
  const said = await opensslRefuses(
    ...['verify', '-CAfile', write('root.pem', root.pem)],
    ...['-untrusted', write('chain.pem', issuing.pem + below.pem), write('client.pem', client.pem)],
  )
  assert.match(said, /path length constraint exceeded/)
})

test('fields of the mesh root', () => {
  const { root } = makePki(NOW)
  const { certificate } = root
  assert.equal(certificate.ca, true)
  assert.equal(certificate.subject, 'O=prod\nCN=mesh root 00112233445566778899')
  assert.equal(certificate.issuer, certificate.subject)
  assert.equal(certificate.verify(certificate.publicKey), true)
  assert.equal(certificate.checkPrivateKey(root.privateKey), true)
  assert.equal(certificate.validFromDate.getTime(), NOW - BACKDATED_SECONDS * 1000)
  assert.equal(certificate.validToDate.getTime(), NOW + LIFETIMES.root * 1000)
  assert.equal(certificate.validToDate.getUTCFullYear(), 2056, 'beyond what two digits of a year can say')
  assert.equal(meshNameOf(root), 'prod')
})

test('fields of an issuing CA, and the id of its controller', () => {
  const { issuing, root } = makePki(NOW)
  const { certificate } = issuing
  assert.equal(certificate.ca, true)
  assert.equal(certificate.subject, 'O=prod\nCN=alpha\nserialNumber=0123456789abcdef0123')
  assert.equal(certificate.subjectAltName, 'URI:overmesh:controller:0123456789abcdef0123')
  assert.equal(controllerIdOf(certificate), CONTROLLER.controllerId)
  assert.equal(certificate.checkIssued(root.certificate), true)
  assert.equal(certificate.verify(root.certificate.publicKey), true)
  assert.equal(overlayAddressOf(certificate), undefined)
  assert.equal(clientIdOf(certificate), undefined)
})

test('an issuing CA ends with the root', () => {
  const { root } = makePki(NOW)
  const late = root.certificate.validToDate.getTime() - 3_600_000
  assert.equal(issuingCa(root, late).certificate.validTo, root.certificate.validTo)
  assert.throws(() => issuingCa(root, late + 3_600_000), refusedAs('EXPIRED'))
})

test('fields of a server certificate', () => {
  const { server } = makePki(NOW)
  const { certificate } = server
  assert.equal(certificate.subject, 'O=prod\nOU=alpha\nCN=prod.0011223344556677')
  assert.equal(certificate.ca, false)
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'])
  assert.equal(
    certificate.subjectAltName,
    'URI:overmesh:controller:0123456789abcdef0123, DNS:vpn.example.net, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1',
  )
  assert.equal(controllerIdOf(certificate), CONTROLLER.controllerId)
})

test('a server certificate without hosts, and with one twice', () => {
  const { issuing } = makePki(NOW)
  assert.equal(
    serverOf(issuing, NOW, []).certificate.subjectAltName,
    'URI:overmesh:controller:0123456789abcdef0123',
  )
  assert.equal(serverOf(issuing, NOW, ['a.b', 'a.b']).certificate.subjectAltName?.match(/DNS:/g)?.length, 1)
})

test('the common name is one for all controllers of a mesh, and never too long', () => {
  assert.equal(serverCommonName('prod', MESH.meshId), 'prod.0011223344556677')
  const long = serverCommonName('m'.repeat(63), 'f'.repeat(40))
  assert.equal(long.length, 64)
  assert.notEqual(long, serverCommonName('m'.repeat(63), `e${'f'.repeat(39)}`))
})

test('fields of a client certificate, and what is read back', () => {
  const { client } = makePki(NOW)
  const { certificate } = client
  assert.equal(certificate.subject, 'O=prod\nCN=web')
  assert.equal(certificate.subjectAltName, 'IP Address:10.77.0.9, URI:overmesh:client:fedcba9876543210')
  assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  assert.equal(overlayAddressOf(certificate), 0x0a4d0009)
  assert.equal(clientIdOf(certificate), CLIENT.clientId)
  assert.equal(controllerIdOf(certificate), undefined)
  assert.equal(client.serial, certificate.serialNumber.toLowerCase())
  assert.equal(client.serial, serialOf(new X509Certificate(client.pem)))
  assert.equal(client.fingerprint, fingerprintOf(certificate))
  assert.match(client.fingerprint, /^[0-9a-f]{64}$/)
  assert.equal(client.notAfter, NOW + LIFETIMES.client * 1000)
})

test('a serial number has 32 digits whatever the random source says', () => {
  const { issuing } = makePki(NOW)
  const publicKey = publicKeyOf(newPrivateKey())
  for (const byte of [0x00, 0x7f, 0x80, 0xff]) {
    const { serial, certificate } = issueClientCertificate(issuing, {
      ...CLIENT,
      ...{ publicKey, now: NOW, lifetime: 60 },
      random: size => new Uint8Array(size).fill(byte),
    })
    assert.match(serial, /^[4-7][0-9a-f]{31}$/)
    assert.equal(serialOf(certificate), serial)
  }
})

test('readers trust no name that could be taken for several', async t => {
  const write = scratch(t)
  const key = write('key.pem', formatPrivateKey(newPrivateKey()))
  const foreign = async (names: string) => {
    const section = `[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=x\n[dn]\nCN=x\n[x]\nsubjectAltName=@n\n[n]\n${names}\n`
    const config = write('config', section)
    return new X509Certificate(await openssl('req', '-x509', '-new', '-key', key, '-config', config))
  }
  const two = await foreign('IP.1=10.0.0.1\nIP.2=10.0.0.2\nURI.1=overmesh:client:0123456789abcdef')
  assert.equal(overlayAddressOf(two), undefined)
  assert.equal(clientIdOf(two), '0123456789abcdef')
  const smuggled = await foreign(
    'DNS.1=a\\, IP Address:10.0.0.1\\, URI:overmesh:client:0123456789abcdef\\, b',
  )
  assert.match(smuggled.subjectAltName ?? '', /IP Address:10\.0\.0\.1/)
  assert.equal(overlayAddressOf(smuggled), undefined)
  assert.equal(clientIdOf(smuggled), undefined)
  const odd = await foreign('IP.1=2001:db8::1\nURI.1=overmesh:client:01234\nURI.2=overmesh:controller:XYZ')
  assert.equal(overlayAddressOf(odd), undefined)
  assert.equal(clientIdOf(odd), undefined)
  assert.equal(controllerIdOf(odd), undefined)
})

test('names, ids, addresses, hosts, keys and lifetimes that no certificate may carry', () => {
  const { root, issuing } = makePki(NOW)
  const publicKey = publicKeyOf(newPrivateKey())
  const times = { now: NOW, lifetime: 60 }
  const client = { ...CLIENT, ...times, publicKey }
  const server = { ...MESH, ...CONTROLLER, ...times, publicKey, hosts: [] }
  const bad: [string, () => unknown][] = [
    ['mesh name', () => createMeshRoot({ ...MESH, ...times, meshName: 'Prod\nCN=x' })],
    ['mesh id', () => createMeshRoot({ ...MESH, ...times, meshId: 'x' })],
    ['controller id', () => issueIssuingCa(root, { ...CONTROLLER, ...times, publicKey, controllerId: 'x' })],
    ['controller', () => issueIssuingCa(root, { ...CONTROLLER, ...times, publicKey, controllerName: '' })],
    ['client name', () => issueClientCertificate(issuing, { ...client, clientName: 'a b' })],
    ['client id', () => issueClientCertificate(issuing, { ...client, clientId: '..' })],
    ['address', () => issueClientCertificate(issuing, { ...client, address: '10.77.0.256' })],
    ['lifetime', () => issueClientCertificate(issuing, { ...client, lifetime: 0 })],
    ['no number', () => issueClientCertificate(issuing, { ...client, lifetime: Number.NaN })],
    ['eternity', () => issueClientCertificate(issuing, { ...client, lifetime: 1e12 })],
    ['private key', () => issueClientCertificate(issuing, { ...client, publicKey: newPrivateKey() })],
    ['other curve', () => issueClientCertificate(issuing, { ...client, publicKey: p384() })],
    ['another mesh', () => issueServerCertificate(issuing, { ...server, meshName: 'other' })],
    ['host', () => issueServerCertificate(issuing, { ...server, hosts: ['vpn.example.net:1194'] })],
    ['wild host', () => issueServerCertificate(issuing, { ...server, hosts: ['*.example.net'] })],
    ['many hosts', () => issueServerCertificate(issuing, { ...server, hosts: Array(65).fill('a') })],
  ]
  for (const [what, make] of bad) assert.throws(make, refusedAs('BAD_ARGUMENT'), what)
})

test('a private key goes out and comes back; what is none is refused', () => {
  const key = newPrivateKey()
  assert.equal(parsePrivateKey(formatPrivateKey(key)).equals(key), true)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  assert.throws(() => parsePrivateKey('nonsense'), refusedAs('UNREADABLE'))
  assert.throws(() => parsePrivateKey(formatPrivateKey(rsa)), refusedAs('UNREADABLE'))
})

const p384 = () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
