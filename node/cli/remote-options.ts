// A controller on another machine: where its API is, whom to trust, and the token, which comes from a file or the environment
// and never from arguments, which every user of the machine can read.
import type { HttpsEndpoint } from '../api/transport.ts'
import { CommandError, UsageError } from './errors.ts'
import { readInput } from './input.ts'
import { readSecret } from './secret.ts'

export interface RemoteOptions {
  api?: string
  tokenFile?: string
  ca?: string
  data?: string
}

type Environment = Readonly<Record<string, string | undefined>>

const MAX_CA_BYTES = 1024 * 1024

/** `--api`, else OVERMESH_API unless `--data` names a directory; undefined: a controller of this machine. */
export function remoteAddress(options: RemoteOptions, env: Environment = process.env): string | undefined {
  if (options.api !== undefined) return options.api
  return options.data === undefined ? env.OVERMESH_API || undefined : undefined
}

/** @throws {UsageError} @throws {CommandError} when a file cannot be read */
export async function remoteEndpoint(
  options: RemoteOptions,
  env: Environment = process.env,
): Promise<HttpsEndpoint | undefined> {
  const address = remoteAddress(options, env)
  if (address === undefined) {
    for (const [option, value] of [
      ['--token-file', options.tokenFile],
      ['--ca', options.ca],
    ]) {
      if (value !== undefined)
        throw new UsageError(`${option} is for a controller elsewhere; name it by --api`)
    }
    return undefined
  }
  const url = readUrl(address, options.api === undefined ? 'OVERMESH_API' : '--api')
  const caFile = options.ca ?? (env.OVERMESH_CA || undefined)
  return {
    url,
    token: await readToken(options, env),
    ...(caFile !== undefined && { ca: await readCa(caFile), caFile }),
  }
}

function readUrl(text: string, from: string): URL {
  const url = URL.parse(text)
  // Not repeated: whoever puts a secret into an address should not find it in a log, too.
  if (url === null || url.hostname === '')
    throw new UsageError(`${from} is no address; write https://HOST:PORT`)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new UsageError(
      `${from} has more than https://HOST:PORT; a token goes into a file, for --token-file`,
    )
  }
  if (url.protocol === 'http:') {
    throw new UsageError(`${from}: http:// would send the token in clear; write https://${url.host}`)
  }
  if (url.protocol !== 'https:' || url.pathname !== '/') {
    throw new UsageError(`${from} is not https://HOST:PORT`)
  }
  return url
}

async function readToken({ tokenFile }: RemoteOptions, env: Environment): Promise<string> {
  const file = tokenFile ?? (env.OVERMESH_TOKEN ? undefined : env.OVERMESH_TOKEN_FILE || undefined)
  const token = file === undefined ? env.OVERMESH_TOKEN : await readSecret(file, 'the token')
  if (!token) {
    throw new UsageError(
      '--api needs a token, of `overmesh token add` there: give --token-file FILE, or set OVERMESH_TOKEN_FILE or OVERMESH_TOKEN',
    )
  }
  const text = token.trim()
  if (/^[\x21-\x7e]{1,200}$/.test(text)) return text
  throw new CommandError(
    `what ${file ?? 'OVERMESH_TOKEN'} has is no token; put there what \`overmesh token add\` printed`,
  )
}

async function readCa(file: string): Promise<string> {
  const pem = await readInput(file, 'the certificate of the mesh root', MAX_CA_BYTES)
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem
  throw new CommandError(
    `${file} is no certificate in PEM; \`overmesh api ca --out FILE\` on a controller writes it`,
  )
}
