// A path in the kernel's terms: the remote end as sockaddr, the local end as ancillary data of a send (RFC 3542
// section 6, ip(7)). Layouts are those of 64-bit Linux.
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../net/ip.ts'
import type { Memory } from './memory.ts'
import type { Path } from './path.ts'
import { AF_INET, AF_INET6 } from './sys/family.ts'

/** Bytes that one path takes in an arena: sockaddr, then ancillary data. */
export const PATH_STRIDE = 72
/** Where in it the ancillary data lies. */
const CONTROL_AT = 32
/** Where a local address lies: behind the cmsg header, and for IPv4 behind the interface. */
const LOCAL_AT = CONTROL_AT + 16
const LOCAL4_AT = LOCAL_AT + 4

const SOL_IP = 0
const IP_PKTINFO = 8
const SOL_IPV6 = 41
const IPV6_PKTINFO = 50

/** Offset of the ancillary data of the path at `at`. */
export function controlAt(at: number): number {
  return at + CONTROL_AT
}

/** Length of the sockaddr at `at`. */
export function nameLength(arena: Memory, at: number): number {
  return (arena.words[at >> 2] & 0xffff) === AF_INET6 ? 28 : 16
}

/** Length of the ancillary data of the path at `at`; 0 when the local end is unknown. */
export function controlLength(arena: Memory, at: number): number {
  const length = arena.words[(at + CONTROL_AT) >> 2]
  return length === 0 ? 0 : (length + 7) & ~7
}

/** Writes `ip` and `port` as sockaddr at `at`: its length, or 0 when `ip` is no address of either family. */
export function writeName(arena: Memory, at: number, ip: string, port: number, scope: number): number {
  arena.bytes.fill(0, at, at + 32)
  const v4 = parseIpv4(ip)
  if (v4 !== undefined) {
    arena.view.setUint16(at, AF_INET, true)
    arena.view.setUint16(at + 2, port, false)
    arena.view.setUint32(at + 4, v4, false)
    return 16
  }
  const v6 = parseIpv6(ip)
  if (v6 === undefined) return 0
  arena.view.setUint16(at, AF_INET6, true)
  arena.view.setUint16(at + 2, port, false)
  arena.bytes.set(v6, at + 8)
  // Only link-local addresses (fe80::/10) mean different hosts on different interfaces.
  if (v6[0] === 0xfe && (v6[1] & 0xc0) === 0x80) arena.words[(at + 24) >> 2] = scope
  return 28
}

/** Writes a whole path at `at`; false when its remote end is no address. */
export function writePath(arena: Memory, at: number, path: Path): boolean {
  if (writeName(arena, at, path.remote, path.port, path.ifindex) === 0) return false
  arena.bytes.fill(0, at + CONTROL_AT, at + PATH_STRIDE)
  const v4 = parseIpv4(path.local)
  if (v4 !== undefined) {
    beginControl(arena, at, AF_INET)
    arena.view.setUint32(at + LOCAL4_AT, v4, false)
    return true
  }
  const v6 = parseIpv6(path.local)
  if (v6 !== undefined) {
    beginControl(arena, at, AF_INET6)
    arena.bytes.set(v6, at + LOCAL_AT)
    if (v6[0] === 0xfe && (v6[1] & 0xc0) === 0x80) arena.words[(at + LOCAL_AT + 16) >> 2] = path.ifindex
  }
  return true
}

function beginControl(arena: Memory, at: number, family: number): void {
  const word = (at + CONTROL_AT) >> 2
  arena.words[word] = family === AF_INET ? 28 : 36
  arena.words[word + 1] = 0
  arena.words[word + 2] = family === AF_INET ? SOL_IP : SOL_IPV6
  arena.words[word + 3] = family === AF_INET ? IP_PKTINFO : IPV6_PKTINFO
}

/** True when the sockaddrs at `a` and `b` are the same remote end. */
export function sameName(left: Memory, a: number, right: Memory, b: number): boolean {
  const l = left.words
  const r = right.words
  const i = a >> 2
  const j = b >> 2
  if (l[i] !== r[j]) return false
  if ((l[i] & 0xffff) === AF_INET) return l[i + 1] === r[j + 1]
  return (
    l[i + 2] === r[j + 2] &&
    l[i + 3] === r[j + 3] &&
    l[i + 4] === r[j + 4] &&
    l[i + 5] === r[j + 5] &&
    l[i + 6] === r[j + 6]
  )
}

/** A number to find a remote end by; equal ends have equal numbers. `seed` keeps it unpredictable. */
export function hashName(arena: Memory, at: number, seed: number): number {
  const { words } = arena
  const word = at >> 2
  const hash = mix(words[word] ^ seed)
  if ((words[word] & 0xffff) === AF_INET) return mix(hash ^ words[word + 1]) >>> 0
  return (
    mix(mix(mix(mix(hash ^ words[word + 2]) ^ words[word + 3]) ^ words[word + 4]) ^ words[word + 5]) >>> 0
  )
}

/**
 * Lets each bit decide over all others (MurmurHash3's finalizer): the last bytes of an address, by which neighbours differ, are the
 * highest of a word, and a product alone carries nothing downwards.
 */
function mix(word: number): number {
  let hash = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** True when the path at `at` answers from the local address of `length` bytes at `b`. Unknown (length 0) fits all. */
export function sameLocal(paths: Memory, at: number, control: Memory, b: number, length: number): boolean {
  if (length === 0) return true
  if (length === 4) {
    return (
      paths.words[(at + CONTROL_AT) >> 2] === 28 &&
      paths.words[(at + LOCAL4_AT) >> 2] === control.words[b >> 2]
    )
  }
  if (paths.words[(at + CONTROL_AT) >> 2] !== 36) return false
  for (let i = 0; i < 4; i++) {
    if (paths.words[((at + LOCAL_AT) >> 2) + i] !== control.words[(b >> 2) + i]) return false
  }
  return true
}

/** Puts the sockaddr at `b` of `names` into the path at `at`. */
export function copyName(paths: Memory, at: number, names: Memory, b: number): void {
  for (let i = 0; i < 7; i++) paths.words[(at >> 2) + i] = names.words[(b >> 2) + i]
  // The flow label of an IPv6 sender is no part of its address.
  if ((paths.words[at >> 2] & 0xffff) === AF_INET6) paths.words[(at >> 2) + 1] = 0
}

/** Puts the local address asked, of `length` bytes at `b` of `control`, into the path at `at`. */
export function copyLocal(
  paths: Memory,
  at: number,
  control: Memory,
  b: number,
  length: number,
  ifindex: number,
): void {
  for (let i = CONTROL_AT >> 2; i < PATH_STRIDE >> 2; i++) paths.words[(at >> 2) + i] = 0
  if (length === 4) {
    beginControl(paths, at, AF_INET)
    paths.words[(at + LOCAL4_AT) >> 2] = control.words[b >> 2]
  } else if (length === 16) {
    beginControl(paths, at, AF_INET6)
    for (let i = 0; i < 4; i++) paths.words[((at + LOCAL_AT) >> 2) + i] = control.words[(b >> 2) + i]
    const linkLocal = (control.view.getUint16(b) & 0xffc0) === 0xfe80
    if (linkLocal) paths.words[(at + LOCAL_AT + 16) >> 2] = ifindex
  }
}

/** Text and port of the sockaddr at `at`. */
export function readName(arena: Memory, at: number): { ip: string; port: number; scope: number } {
  const port = arena.view.getUint16(at + 2, false)
  if ((arena.words[at >> 2] & 0xffff) === AF_INET) {
    return { ip: formatIpv4(arena.view.getUint32(at + 4, false)), port, scope: 0 }
  }
  return { ip: formatIpv6(arena.bytes.slice(at + 8, at + 24)), port, scope: arena.words[(at + 24) >> 2] }
}

/** The path at `at` as everyone else knows it. */
export function readPath(arena: Memory, at: number, socket: number, ifindex: number): Path {
  const { ip, port, scope } = readName(arena, at)
  const known = arena.words[(at + CONTROL_AT) >> 2]
  let local = ''
  if (known === 28) local = formatIpv4(arena.view.getUint32(at + LOCAL4_AT, false))
  else if (known === 36) local = formatIpv6(arena.bytes.slice(at + LOCAL_AT, at + LOCAL_AT + 16))
  return { socket, remote: ip, port, local, ifindex: scope === 0 ? ifindex : scope }
}
