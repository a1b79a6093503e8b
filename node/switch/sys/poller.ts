// Waiting: epoll over sockets, TUN and a wake-up eventfd, and short sleeps.
import { Arena } from './arena.ts'
import { lastError } from './error.ts'
import { libc, POINTER } from './library.ts'
import { closeFile } from './socket.ts'

const epoll_create1 = libc('epoll_create1', 'int', 'int')
const epoll_ctl = libc('epoll_ctl', 'int', 'int', 'int', 'int', POINTER)
const epoll_wait = libc('epoll_wait', 'int', 'int', POINTER, 'int', 'int')
const eventfd = libc('eventfd', 'int', 'uint', 'int')
const nanosleep = libc('nanosleep', 'int', POINTER, POINTER)
const sched_yield = libc('sched_yield', 'int')
const prctl = libc('prctl', 'int', 'int', 'ulong', 'ulong', 'ulong', 'ulong')

const EPOLL_CLOEXEC = 0x80000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLLIN = 1
const EPOLLET = 1 << 31
const EFD_NONBLOCK = 0x800
const EFD_CLOEXEC = 0x80000
const PR_SET_TIMERSLACK = 29

// struct epoll_event is packed to 12 bytes on x86-64 only.
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16
const DATA_AT = process.arch === 'x64' ? 4 : 8

/** Which of a few file descriptors can be read. Each is known by a small number of the caller's. */
export class Poller {
  readonly #fd: number
  readonly #events: Arena
  readonly #capacity: number

  constructor(capacity: number) {
    this.#fd = epoll_create1(EPOLL_CLOEXEC)
    if (this.#fd < 0) throw lastError('epoll_create1')
    this.#capacity = capacity
    this.#events = new Arena(capacity * EVENT_BYTES)
  }

  /** Watches `fd` for reading as `token`. With `edge`, each write to it wakes once and nothing need be read. */
  add(fd: number, token: number, edge = false): void {
    this.#events.view.setInt32(0, edge ? EPOLLIN | EPOLLET : EPOLLIN, true)
    this.#events.view.setInt32(DATA_AT, token, true)
    if (epoll_ctl(this.#fd, EPOLL_CTL_ADD, fd, this.#events.address(0, EVENT_BYTES)) !== 0)
      throw lastError('epoll_ctl')
  }

  /** Watches `fd` no more. */
  remove(fd: number): void {
    if (epoll_ctl(this.#fd, EPOLL_CTL_DEL, fd, 0) !== 0) throw lastError('epoll_ctl')
  }

  /** Waits at most `milliseconds`: how many are ready. A signal counts as none. */
  wait(milliseconds: number): number {
    const address = this.#events.address(0, this.#capacity * EVENT_BYTES)
    return Math.max(0, epoll_wait(this.#fd, address, this.#capacity, milliseconds))
  }

  /** The token of the i-th ready one. */
  token(i: number): number {
    return this.#events.view.getInt32(i * EVENT_BYTES + DATA_AT, true)
  }

  close(): void {
    closeFile(this.#fd)
  }
}

/** A counter to wake a poller by: whoever writes 8 bytes to it, from any thread, wakes the wait. */
export function newWakeup(): number {
  const fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
  if (fd < 0) throw lastError('eventfd')
  return fd
}

const timespec = new Arena(16)

/** Sleeps `nanoseconds` (below one second), give or take what `preciseSleep` allowed. */
export function sleep(nanoseconds: number): void {
  timespec.words[2] = nanoseconds
  nanosleep(timespec.address(0, 16), 0)
}

/** Lets other threads that wait for this processor go first. */
export function yieldProcessor(): void {
  sched_yield()
}

/** Lets this thread's sleeps end within a microsecond, not the usual 50. */
export function preciseSleep(): void {
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0)
}
