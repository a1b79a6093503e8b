// How a request reaches a controller: over the unix socket of its data directory, or over HTTPS with a token. Errors say what
// is wrong with the way there; none of them ever holds the token.
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { ServiceError } from '../service-error.ts'

/** Resolves when the head of the answer is here. @throws {ServiceError} failed; or the signal's reason */
export type Transport = (
  method: string,
  path: string,
  /** JSON */
  payload: string | undefined,
  terms: Terms,
) => Promise<IncomingMessage>

export interface Terms {
  signal: AbortSignal
  /** Called once its turn has come: only so many requests are under way at a time. */
  begun?: () => void
  /** The answer goes on until somebody ends it: it takes no turn. */
  lasts?: boolean
}

export interface HttpsEndpoint {
  /** `https://HOST[:PORT]` */
  url: URL
  /** As `overmesh token add` printed it. */
  token: string
  /** PEM: what the certificate of the controller must chain to. @default the authorities that the system trusts */
  ca?: string
  /** Of `ca`, for errors. */
  caFile?: string
}

/** ms until the controller has to be reached. */
const CONNECT_MS = 10_000
/** Requests at a time. */
const MAX_SOCKETS = 8

export function socketTransport(socketPath: string): Transport {
  return (method, path, payload, terms) =>
    send(
      options => httpRequest({ ...options, socketPath }),
      { method, path, headers: { host: 'localhost', ...contentHeaders(payload) } },
      terms,
      payload,
      error => endedEarly('the controller ended the connection', error.message, error, method),
    )
}

export function httpsTransport(endpoint: HttpsEndpoint): Transport {
  const { url, token, ca } = endpoint
  const [agent, lasting] = [
    new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
    new Agent({ keepAlive: true }),
  ]
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const options: RequestOptions = { host, port: url.port || 443 }
  return (method, path, payload, terms) =>
    send(
      more => {
        const request = httpsRequest({
          ...{ ...options, ...more, ca, minVersion: 'TLSv1.2' },
          agent: terms.lasts ? lasting : agent,
        })
        request.once('socket', socket => {
          if (request.reusedSocket) return
          const timer = setTimeout(
            () => request.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
            CONNECT_MS,
          )
          const reached = () => clearTimeout(timer)
          socket.once('secureConnect', reached)
          request.once('close', reached)
        })
        return request
      },
      {
        method,
        path,
        headers: { host: url.host, authorization: `Bearer ${token}`, ...contentHeaders(payload) },
      },
      terms,
      payload,
      error => whatIsWrong(error, endpoint, method),
    )
}

function contentHeaders(payload: string | undefined): Record<string, string | number> {
  if (payload === undefined) return {}
  return { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
}

function send(
  open: (options: RequestOptions) => ReturnType<typeof httpRequest>,
  options: RequestOptions,
  { signal, begun }: Terms,
  payload: string | undefined,
  inWords: (error: NodeJS.ErrnoException) => string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = open({ ...options, signal })
    if (begun) request.once('socket', begun)
    request.once('response', resolve)
    // Also after the answer has begun: a server that refuses may end the connection before it has all of the request.
    request.on('error', (error: NodeJS.ErrnoException) =>
      reject(signal.aborted ? error : new ServiceError('failed', inWords(error), { cause: error })),
    )
    request.end(payload)
  })
}

/** Codes of X509_verify_cert_error_string(3) as Node names them: nobody who is trusted signed it. */
const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
])

const UNREACHED: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'the name could not be resolved',
  ETIMEDOUT: 'no answer',
  EHOSTUNREACH: 'no way there',
  ENETUNREACH: 'no way there',
}

function whatIsWrong(
  error: NodeJS.ErrnoException,
  { url, ca, caFile = 'the CA given' }: HttpsEndpoint,
  method: string,
): string {
  const where = url.origin
  const code = error.code ?? ''
  if (Object.hasOwn(UNREACHED, code)) {
    return `${where} is not reached: ${UNREACHED[code]}; \`overmesh api show\` on the controller says where its API listens`
  }
  if (UNTRUSTED.has(code)) {
    return ca === undefined
      ? `the certificate of ${where} is signed by nobody that this system trusts; give the file that \`overmesh api ca\` on a controller writes by --ca`
      : `the certificate of ${where} is not signed by ${caFile}: it is no controller of that mesh, or the file is another mesh's`
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the certificate of ${where} is for other names; add this one on the controller by \`overmesh api enable --name ${url.hostname}\``
  }
  if (code === 'CERT_HAS_EXPIRED')
    return `the certificate of ${where} has expired; check the clocks of both machines`
  if (code === 'CERT_NOT_YET_VALID')
    return `the certificate of ${where} is not valid yet; check the clocks of both machines`
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO')
    return `${where} does not speak TLS as it should; is it the API's port?`
  return endedEarly(`the connection to ${where} ended`, code || error.message, error, method)
}

/** Before the answer. What only looks does no harm twice, and what was never sent was not done. */
function endedEarly(what: string, reason: string, error: NodeJS.ErrnoException, method: string): string {
  const isUndone = method === 'GET' || error.syscall === 'connect'
  return `${what} (${reason}); ${isUndone ? 'try again' : 'what was asked may be done: look before you try again'}`
}
