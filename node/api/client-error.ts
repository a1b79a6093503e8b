// What a connection is told on which something else than HTTP came, or too much of it, or too slowly. Nothing of what came
// is repeated or logged: a token may be in it.
import type { Socket } from 'node:net'
import { refuse } from './errors.ts'

const ANSWERS: Record<string, [status: string, message: string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request took too long to arrive'],
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the headers of the request are too large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['413 Payload Too Large', 'the request body is too large'],
}

export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (socket.writable) {
    const [status, message] = ANSWERS[error.code ?? ''] ?? ['400 Bad Request', 'the request is no HTTP/1.1']
    const body = JSON.stringify(refuse('invalid', message).body)
    socket.write(
      `HTTP/1.1 ${status}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
        `Content-Type: application/json\r\nConnection: close\r\n\r\n${body}`,
    )
  }
  socket.destroySoon()
}
