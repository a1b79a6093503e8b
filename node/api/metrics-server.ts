// Plain HTTP for Prometheus and load balancers, which reach no unix socket: /metrics, /healthz and /readyz, and nothing else.
// Whoever reaches it may read it, so it listens nowhere unless it was asked to.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { METRICS_TYPE } from '../metrics/exposition.ts'
import { formatHostPort, type HostPort } from '../net/ip.ts'
import type { ObservationService } from '../service-observation.ts'

/** Connections at a time; the next is closed at once. */
export const MAX_CONNECTIONS = 64
/** ms for the headers of a request, for all of it, and between two on one connection. */
const HEADERS_MS = 5000
const REQUEST_MS = 10_000
const IDLE_MS = 30_000
/** ms for a reader to take an answer. */
const ANSWER_MS = 30_000
const MAX_HEADER_BYTES = 8192

const PATHS = ['/metrics', '/healthz', '/readyz']

export interface MetricsServerInit {
  service: Pick<ObservationService, 'health' | 'metrics'>
  onProblem: (error: unknown) => void
  /** ms for the headers of a request. @default 5000 */
  headersMs?: number
}

export class MetricsServer {
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
  }

  /** @throws the system's error, such as EADDRINUSE */
  static async start({ host, port }: HostPort, init: MetricsServerInit): Promise<MetricsServer> {
    const headersTimeout = init.headersMs ?? HEADERS_MS
    const server = createServer({
      headersTimeout,
      requestTimeout: Math.max(headersTimeout, REQUEST_MS),
      keepAliveTimeout: IDLE_MS,
      connectionsCheckingInterval: Math.min(1000, headersTimeout),
      maxHeaderSize: MAX_HEADER_BYTES,
    })
    server.maxConnections = MAX_CONNECTIONS
    server.timeout = ANSWER_MS
    server.on('request', (request, response) => {
      answer(request, response, init.service).catch(error => {
        init.onProblem(error)
        if (!response.headersSent) end(response, 500, 'the controller failed to answer; its log says why\n')
        else response.destroy()
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, () => {
        server.off('error', reject)
        server.on('error', init.onProblem)
        resolve()
      })
    })
    return new MetricsServer(server)
  }

  /** `host:port`, with the port that the system chose for 0. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo
    return formatHostPort({ host: address, port })
  }

  async stop(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  service: MetricsServerInit['service'],
): Promise<void> {
  // Nothing that is answered here has a body: one that comes is not waited for.
  if (request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined)
    response.setHeader('connection', 'close')
  const { path, query } = readTarget(request.url ?? '')
  if (!PATHS.includes(path)) {
    end(response, 404, `there is ${PATHS.join(', ')} here, and nothing else\n`)
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    end(response, 405, 'only GET and HEAD\n')
  } else if (path === '/metrics') {
    end(response, 200, await service.metrics({ clients: query.get('clients') === '1' }), METRICS_TYPE)
  } else {
    const health = await service.health()
    const isGood = path === '/healthz' ? health.alive : health.ready
    end(response, isGood ? 200 : 503, `${JSON.stringify(health)}\n`, 'application/json')
  }
}

function end(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(body)
}

/** Never throws, whatever a stranger sends. */
function readTarget(target: string): { path: string; query: URLSearchParams } {
  const at = target.indexOf('?')
  return at < 0
    ? { path: target, query: new URLSearchParams() }
    : { path: target.slice(0, at), query: new URLSearchParams(target.slice(at + 1)) }
}
