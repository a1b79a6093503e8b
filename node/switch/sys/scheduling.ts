// How the kernel schedules this thread.
import { Arena } from './arena.ts'
import { libc, POINTER } from './library.ts'

const syscall = libc('syscall', 'long', 'long', 'int', POINTER, 'uint')
const getpriority = libc('getpriority', 'int', 'int', 'uint')

/** Number of the system call sched_setattr, which is not in every libc. */
const SCHED_SETATTR = new Map([
  ['x64', 314],
  ['arm64', 274],
]).get(process.arch)
// struct sched_attr in 32-bit words: size 0, policy 1, flags 2 (64), nice 4, priority 5, runtime 6 (64), deadline 8 (64), period 10 (64).
const ATTRIBUTE_BYTES = 48
const NICE_WORD = 4
const RUNTIME_WORD = 6
const PRIO_PROCESS = 0

let attribute: Arena | undefined

/**
 * Asks for time slices of so many nanoseconds (100,000 to 100,000,000; 0 for the kernel's own) for the calling thread: from Linux
 * 6.12 on, a thread that wakes is run before one whose slices are longer. Its share of the processor stays what it was. Older
 * kernels know no such thing, and nothing changes.
 */
export function requestSlice(nanoseconds: number): boolean {
  if (SCHED_SETATTR === undefined) return false
  attribute ??= new Arena(ATTRIBUTE_BYTES)
  attribute.words[0] = ATTRIBUTE_BYTES
  attribute.words[NICE_WORD] = getpriority(PRIO_PROCESS, 0)
  attribute.words[RUNTIME_WORD] = nanoseconds
  return syscall(SCHED_SETATTR, 0, attribute.address(0, ATTRIBUTE_BYTES), 0) === 0
}
