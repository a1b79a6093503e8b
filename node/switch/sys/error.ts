// What goes wrong at the border to the kernel and to OpenSSL.
import koffi from 'koffi'

const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]))

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
