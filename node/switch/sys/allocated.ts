// What C code holds of this process's memory, OpenSSL's connections above all: no heap of JavaScript shows it. For tests that look
// for what is left behind, and benchmarks; to count takes malloc's locks.
import koffi from 'koffi'

const FIELDS = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split(' ')

const mallinfo2 = ask()

/** Bytes that malloc has given out to all threads: mallinfo2(3), of glibc from 2.33 on. Undefined where libc does not tell. */
export function allocatedBytes(): number | undefined {
  if (mallinfo2 === undefined) return undefined
  // Large pieces have pages of their own, and are counted apart.
  const { uordblks, hblkhd } = mallinfo2()
  return Number(uordblks) + Number(hblkhd)
}

function ask(): (() => Record<string, number | bigint>) | undefined {
  const result = koffi.struct(Object.fromEntries(FIELDS.map(name => [name, 'size_t'])))
  try {
    return koffi.load(null).func('mallinfo2', result, [])
  } catch {
    return undefined
  }
}
