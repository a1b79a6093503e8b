// The checkout for programs of the lab that are another user: root's home, where it may well lie, is closed to them.
import { statSync } from 'node:fs'
import { dirname, join } from 'node:path'

const TOP = join(import.meta.dirname, '../..')
const OTHERS_MAY_SEARCH = 0o001

/** The checkout alone is seen there, in place of the directory ($2) that hides it ($1) and all that is in that. */
const OPEN = [
  'mount --bind "$1" /mnt',
  'mount -t tmpfs -o mode=755 tmpfs "$2"',
  'mkdir -p "$1"',
  'mount --bind /mnt "$1"',
  'cd "$1"',
  'shift 2',
  'exec "$@"',
].join(' && ')

/**
 * Goes before the command line of a program that runs in a mount namespace of its own, so that whoever it becomes reaches the
 * checkout. Nothing where anyone does.
 */
export function withOpenCheckout(): string[] {
  let closed: string | undefined
  for (let path = dirname(TOP); path !== dirname(path); path = dirname(path))
    if ((statSync(path).mode & OTHERS_MAY_SEARCH) === 0) closed = path
  return closed === undefined ? [] : ['sh', '-c', `umask 022 && ${OPEN}`, 'sh', TOP, closed]
}
