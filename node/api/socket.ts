// The unix socket of the local API: who may reach it, and who owns it when a process died without removing it.
// Access control is the file system's: a 0600 socket in a 0700 directory (unix(7), "Pathname socket ownership").
import { chmod, lstat, mkdir, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'

/** `sun_path` of unix(7) is 108 bytes with the terminating zero. */
export const MAX_SOCKET_PATH = 107

/** How long a listener that accepts nothing may keep us waiting, in ms. */
const CONNECT_TIMEOUT = 2000

export class SocketError extends Error {
  override name = 'SocketError'
  readonly code: 'too-long' | 'in-use' | 'not-a-socket'
  constructor(code: SocketError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** Where the controller of a data directory listens. */
export function apiSocketPath(dataDir: string): string {
  return join(dataDir, 'run', 'api.sock')
}

/** What is behind a socket path: someone who listens, a leftover, nothing, or something that is not ours to ask. */
export type SocketState = 'live' | 'stale' | 'absent' | 'denied'

export function socketState(path: string): Promise<SocketState> {
  // A longer path would be cut by connect(2) and reach somebody else's socket, or nobody's.
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) return Promise.resolve('absent')
  return new Promise(resolve => {
    const socket = connect(path)
    const answer = (state: SocketState) => {
      socket.destroy()
      resolve(state)
    }
    // A full backlog means a listener that is busy, and so alive.
    socket.setTimeout(CONNECT_TIMEOUT, () => answer('live'))
    socket.once('connect', () => answer('live'))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') answer('absent')
      else if (error.code === 'EACCES' || error.code === 'EPERM') answer('denied')
      else if (error.code === 'EAGAIN') answer('live')
      else answer('stale')
    })
  })
}

/**
 * Makes `path` free to listen on: its directory exists with mode 0700 and a socket that nobody listens on is removed.
 * @throws {SocketError} when the path is too long, somebody listens there, or it is a file of another kind
 */
export async function claimSocket(path: string): Promise<void> {
  const length = Buffer.byteLength(path)
  if (length > MAX_SOCKET_PATH) {
    throw new SocketError(
      'too-long',
      `the socket path ${path} has ${length} bytes and the system allows ${MAX_SOCKET_PATH}; use a data directory with a shorter path`,
    )
  }
  const directory = dirname(path)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await chmod(directory, 0o700)
  const state = await socketState(path)
  if (state === 'absent') return
  if (state === 'live') {
    throw new SocketError(
      'in-use',
      `a controller is already running on ${path}; stop it first, or use another data directory`,
    )
  }
  if (!(await lstat(path)).isSocket()) {
    throw new SocketError(
      'not-a-socket',
      `${path} is not a socket; move it away, nothing of Overmesh made it`,
    )
  }
  await unlink(path)
}
