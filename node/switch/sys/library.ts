// The C functions this process already carries: libc's, and OpenSSL's where the node binary exports them.
import koffi from 'koffi'
import { SysError } from './error.ts'

/** A C function over numbers. Pointers are numbers too: user addresses stay below 2^53. */
export type NativeFunction = (...args: number[]) => number

/** A pointer argument or result, passed as a plain number: far cheaper than BigInt or an object. */
export const POINTER = 'uint64_t'

const self = koffi.load(null)

// A JavaScript view of C memory, 64-bit pointers and little-endian words are assumed by every structure here.
if (
  process.platform !== 'linux' ||
  koffi.sizeof('void *') !== 8 ||
  new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1
) {
  throw new SysError('load', 'ENOTSUP', 'the switch runs on 64-bit little-endian Linux')
}

/** A function of libc. Throws SysError `ENOSYMBOL` where it is missing. */
export function libc(name: string, result: string, ...args: string[]): NativeFunction {
  try {
    return self.func(name, result, args)
  } catch {
    throw new SysError('dlsym', 'ENOSYMBOL', name)
  }
}

let crypto = self

/** A function of OpenSSL: the node binary's own, else the system's libcrypto.so.3. */
export function libcrypto(name: string, result: string, ...args: string[]): NativeFunction {
  try {
    return crypto.func(name, result, args)
  } catch {
    if (crypto !== self) throw new SysError('dlsym', 'ENOSYMBOL', name)
  }
  try {
    crypto = koffi.load('libcrypto.so.3')
  } catch {
    throw new SysError('dlopen', 'ENOSYMBOL', 'this node exports no OpenSSL, and there is no libcrypto.so.3')
  }
  return libcrypto(name, result, ...args)
}

let ssl: typeof self | undefined

/** A function of OpenSSL's TLS library, from where its libcrypto is from. Throws SysError `ENOSYMBOL` where there is none. */
export function libssl(name: string, result: string, ...args: string[]): NativeFunction {
  try {
    // Two OpenSSLs must not meet: what one has made, the other cannot take.
    ssl ??= crypto === self ? self : koffi.load('libssl.so.3')
    return ssl.func(name, result, args)
  } catch {
    throw new SysError('dlsym', 'ENOSYMBOL', name)
  }
}
