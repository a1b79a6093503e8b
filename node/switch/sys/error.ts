// What goes wrong at the border to the kernel and to OpenSSL.
import koffi from 'koffi'

const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]))

/** Numbers of errors that are not failures but answers. Those of Linux on every 64-bit architecture. */
export const ERRNO = {
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENODEV: 19,
  EINVAL: 22,
  EBADFD: 77,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  ECONNREFUSED: 111,
} as const

/** What the kernel answers when the local address to send from is no longer ours. */
export const LOCAL_GONE: readonly number[] = [ERRNO.EINVAL, ERRNO.ENETUNREACH, ERRNO.EADDRNOTAVAIL]

/** A system call or library call that failed, or an argument refused before it was made. */
export class SysError extends Error {
  override readonly name = 'SysError'
  /** The errno's name such as `EADDRINUSE`, or `ERANGE_ARENA`, `ECRYPTO`, `ENOSYMBOL` for those found here. */
  readonly code: string
  /** The call, as in the manual. */
  readonly call: string

  constructor(call: string, code: string, detail = '') {
    super(`${call}: ${code}${detail === '' ? '' : ` (${detail})`}`)
    this.call = call
    this.code = code
  }
}

/** The calling thread's errno of its last failed call. */
export function errno(): number {
  return koffi.errno()
}

/** `EAGAIN` and its kind for a number; the number itself where this system has no name for it. */
export function errnoName(number: number): string {
  return names.get(number) ?? `errno ${number}`
}

/** The error of the call that has just failed. */
export function lastError(call: string): SysError {
  return new SysError(call, errnoName(koffi.errno()))
}
