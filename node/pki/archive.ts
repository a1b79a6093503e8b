// A client's credential as a zip: the clientpack, the same as PKCS#12 and as separate files, and how to use them.
import { strToU8, type Zippable, zipSync } from 'fflate'
import type { SealException } from '../seal/exceptions.ts'
import { sealFiles } from '../seal/files.ts'
import { type ClientpackRequest, formatClientpack } from './clientpack.ts'

/** Of a regular file that only its owner reads, or runs, as Unix has it. */
const PRIVATE_FILE = 0o100600
const PRIVATE_PROGRAM = 0o100700

/**
 * @param pkcs12 the same credential, made by `makePkcs12`
 * @param allow what the host may do beside the overlay once it is sealed
 * @returns the zip; the same bytes for the same arguments
 * @throws PkiError BAD_ARGUMENT
 */
export function makeArchive(
  request: ClientpackRequest,
  pkcs12: Uint8Array,
  allow: readonly SealException[] = [],
): Uint8Array {
  const { clientName: name, root, certificate, chain, privateKey, tlsCryptV2 } = request
  const files: Record<string, string | Uint8Array> = {
    'README.txt': readme(request),
    [`${name}.ovpn`]: formatClientpack(request),
    [`${name}.p12`]: pkcs12,
    'ca.crt': root,
    [`${name}.crt`]: certificate + chain,
    [`${name}.key`]: privateKey,
    'tls-crypt-v2.key': tlsCryptV2,
  }
  const entries: Zippable = {}
  for (const [file, content] of Object.entries(files)) {
    entries[file] = typeof content === 'string' ? strToU8(content) : content
  }
  for (const [file, { content, isProgram }] of Object.entries(sealFiles(request.remotes, allow))) {
    const mode = isProgram ? PRIVATE_PROGRAM : PRIVATE_FILE
    entries[`seal/${file}`] = [strToU8(content), { attrs: (mode << 16) >>> 0 }]
  }
  return zipSync(entries, {
    level: 9,
    mtime: dayOf(request.madeAt),
    os: 3,
    attrs: (PRIVATE_FILE << 16) >>> 0,
  })
}

/**
 * Zip files bear local time without a zone. Noon of the day, which no change to or from summer time skips, comes out the
 * same everywhere.
 */
function dayOf(ms: number): Date {
  const at = new Date(ms)
  return new Date(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), 12)
}

function readme({ meshName, clientName: name, address }: ClientpackRequest): string {
  return `Credential of ${name}, ${address}, in the mesh ${meshName}.
Whoever has these files is this client: keep them secret, and ask for others when they were lost.

${name}.ovpn is all that OpenVPN needs (2.5 and newer, or OpenVPN Connect):

    openvpn --config ${name}.ovpn

The other files hold the same once more, for programs that want them apart:

    ca.crt             certificate of the mesh root, which all controllers are checked against
    ${name}.crt        certificate of this client and of the controller that issued it
    ${name}.key        its private key
    tls-crypt-v2.key   key that hides and protects the connection's set-up
    ${name}.p12        certificates and private key in one file, PKCS#12;
                       with the password that was given for it, else an empty one

To use them, take a copy of ${name}.ovpn and put in place of its blocks

    <ca>, <cert>, <key>      ca ca.crt
                             cert ${name}.crt
                             key ${name}.key
                       or:   pkcs12 ${name}.p12
    <tls-crypt-v2>           tls-crypt-v2 tls-crypt-v2.key

seal/ shuts the host to everything but the overlay; see seal/README.txt.
`
}
