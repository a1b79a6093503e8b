// Datagrams to a unix(7) socket, which Node has no way to send.
import { Arena } from './arena.ts'
import { lastError, SysError } from './error.ts'
import { libc, POINTER } from './library.ts'
import { closeFile } from './socket.ts'

const socket = libc('socket', 'int', 'int', 'int', 'int')
const sendto = libc('sendto', 'int64_t', 'int', POINTER, 'size_t', 'int', POINTER, 'uint')

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0x80000
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
/** `sun_path` of sockaddr_un. */
const PATH_ROOM = 108
const FAMILY_LENGTH = 2
const MESSAGE_ROOM = 1024
const NAME_AT = MESSAGE_ROOM

export class UnixDatagramSocket {
  readonly #fd: number
  readonly #arena = new Arena(NAME_AT + FAMILY_LENGTH + PATH_ROOM + 2)
  readonly #nameLength: number

  /**
   * @param path of the receiver; one that begins with `@` names an abstract socket
   * @throws SysError `ENAMETOOLONG` for a path of more than 107 bytes
   */
  constructor(path: string) {
    const name = new TextEncoder().encode(path)
    if (name.length >= PATH_ROOM) throw new SysError('sendto', 'ENAMETOOLONG')
    if (path.startsWith('@')) name[0] = 0
    this.#arena.view.setUint16(NAME_AT, AF_UNIX, true)
    this.#arena.bytes.set(name, NAME_AT + FAMILY_LENGTH)
    this.#nameLength = FAMILY_LENGTH + name.length
    this.#fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    if (this.#fd < 0) throw lastError('socket')
  }

  /** Sends a text of at most 1024 bytes, without waiting. @throws SysError */
  send(text: string): void {
    const message = new TextEncoder().encode(text)
    if (message.length > MESSAGE_ROOM) throw new SysError('sendto', 'EMSGSIZE')
    this.#arena.bytes.set(message)
    const sent = sendto(
      this.#fd,
      this.#arena.address(0, message.length),
      message.length,
      MSG_DONTWAIT | MSG_NOSIGNAL,
      this.#arena.address(NAME_AT, this.#nameLength),
      this.#nameLength,
    )
    if (sent !== message.length) throw lastError('sendto')
  }

  close(): void {
    closeFile(this.#fd)
  }
}
