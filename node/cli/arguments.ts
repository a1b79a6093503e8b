// Values on the command line, read strictly: a bad one is refused with the reason before anything is done.
import { cidrHasHostBits, formatCidr, parseCidr, parseIpv4 } from '../../state/address.ts'
import {
  cidr6HasHostBits,
  formatAddress6,
  formatCidr6,
  parseAddress6,
  parseCidr6,
} from '../../state/address6.ts'
import { dialProblem, listenProblem } from '../dialable.ts'
import { isDomainName } from '../dns/names.ts'
import { type HostPort, parseHostPort } from '../net/ip.ts'
import { UsageError } from './errors.ts'

const NAME = /^[a-z0-9][a-z0-9._-]*$/

/** A commander argument parser that knows the name of its option. */
type Reader<T> = (text: string) => T

/** @param most characters */
export function readName(what: string, most = 63): Reader<string> {
  return text => {
    if (text.length <= most && NAME.test(text)) return text
    throw new UsageError(
      `${what} '${text}' is not a name; use up to ${most} lower-case letters, digits, '-', '.' and '_', starting with a letter or digit`,
    )
  }
}

/** The same for what is made: a name that DNS can carry, too. */
export function readNewName(what: string): Reader<string> {
  const read = readName(what)
  return text => {
    if (isDomainName(read(text))) return text
    throw new UsageError(
      `${what} '${text}' is no name that DNS can carry; write no dot at its end and no two in a row`,
    )
  }
}

/** As names are shown: those of two clients with one name differ by what follows a '~'. */
export function readShownName(option: string): Reader<string> {
  return text => {
    if (/^[a-z0-9][a-z0-9._~-]{0,80}$/.test(text)) return text
    throw new UsageError(`${option}: '${text}' is not a name; \`overmesh status\` shows them`)
  }
}

export function readAddress(option: string): Reader<string> {
  return text => {
    if (parseIpv4(text) !== undefined) return text
    const hint = text.includes('/') ? ' without a prefix length' : ''
    throw new UsageError(`${option}: '${text}' is not an IPv4 address; write it as 10.77.0.5${hint}`)
  }
}

/** An address of either version of IP, in canonical text. */
export function readAnyAddress(option: string): Reader<string> {
  return text => {
    const address6 = parseAddress6(text)
    if (address6 !== undefined) return formatAddress6(address6)
    if (parseIpv4(text) !== undefined) return text
    throw new UsageError(
      `${option}: '${text}' is neither an IPv4 nor an IPv6 address; write it as 10.77.0.5 or fd12:3456:789a::a4d:5`,
    )
  }
}

export function readCidr6(option: string): Reader<string> {
  return text => {
    const cidr = parseCidr6(text)
    if (cidr === undefined) {
      throw new UsageError(`${option}: '${text}' is not an IPv6 prefix; write it as fd12:3456:789a::/64`)
    }
    if (cidr6HasHostBits(text)) {
      throw new UsageError(
        `${option}: '${text}' has bits set beyond its prefix length; did you mean ${formatCidr6(cidr)}?`,
      )
    }
    return formatCidr6(cidr)
  }
}

/** A prefix of either version of IP. */
export function readAnyCidr(option: string): Reader<string> {
  const [four, six] = [readCidr(option), readCidr6(option)]
  return text => (text.includes(':') ? six(text) : four(text))
}

export function readCidr(option: string): Reader<string> {
  return text => {
    const cidr = parseCidr(text)
    if (cidr === undefined) {
      throw new UsageError(
        parseCidr6(text) === undefined
          ? `${option}: '${text}' is not a prefix; write it as 10.77.0.0/16`
          : `${option}: '${text}' is IPv6, and this takes IPv4 prefixes only, such as 10.77.0.0/16`,
      )
    }
    if (cidrHasHostBits(text)) {
      throw new UsageError(
        `${option}: '${text}' has bits set beyond its prefix length; did you mean ${formatCidr(cidr)}?`,
      )
    }
    return formatCidr(cidr)
  }
}

/** A whole number from `min` to `max`. */
export function readInteger(option: string, min: number, max: number): Reader<number> {
  return text => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new UsageError(`${option}: '${text}' is not a whole number from ${min} to ${max}`)
  }
}

/** A duration such as `90s`, `30m`, `1h` or `2d`, in seconds. */
export function readDuration(option: string, max: number): Reader<number> {
  return text => {
    const [, digits, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
    const seconds = Number(digits) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as 's' | 'm' | 'h' | 'd']
    if (seconds >= 1 && seconds <= max) return seconds
    const most = `${Math.floor(max / 86_400)}d`
    throw new UsageError(
      `${option}: '${text}' is not a duration up to ${most}; write it as 90s, 30m, 1h or 2d`,
    )
  }
}

/** A number of seconds above 0, with decimals, up to `max`. */
export function readSeconds(option: string, max: number): Reader<number> {
  return text => {
    const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
    if (value > 0 && value <= max) return value
    throw new UsageError(`${option}: '${text}' is not a number of seconds above 0 and up to ${max}`)
  }
}

/** What another machine is reached by: `HOST`, `HOST:PORT` or `[IPV6]:PORT`; given back as it was written. */
export function readRemote(option: string): Reader<string> {
  return text => {
    readDialled(option, text)
    return text
  }
}

/** The same of this controller, as others are to reach it. */
export function readPublic(option: string): Reader<string> {
  return text => {
    const problem = dialProblem(readDialled(option, text))
    if (problem) throw new UsageError(`${option}: ${problem}`)
    return text
  }
}

function readDialled(option: string, text: string): HostPort {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)/i.exec(text) ?? []
  if (scheme !== undefined)
    throw new UsageError(
      `${option}: '${text}' is a URL; leave out '${scheme}' and write HOST:PORT, such as ${rest === '' ? 'vpn.example.com:1194' : withPort(rest)}`,
    )
  if (isPortAlone(text))
    throw new UsageError(
      `${option}: '${text}' has no host; write HOST:PORT, such as vpn.example.com:${portOf(text)}`,
    )
  return readHostPort(option, text)
}

/** Where this machine listens: `ADDRESS:PORT` or `[IPV6]:PORT`; names would change their meaning behind our back. */
export function readListen(option: string): Reader<string> {
  return text => {
    if (isPortAlone(text))
      throw new UsageError(
        `${option}: '${text}' has no address; write ADDRESS:PORT, such as 0.0.0.0:${portOf(text)} for all addresses of this machine`,
      )
    const endpoint = readHostPort(option, text)
    if (endpoint.port === NO_PORT)
      throw new UsageError(`${option}: '${text}' has no port; write ADDRESS:PORT`)
    if (endpoint.family === 'name') {
      throw new UsageError(`${option}: '${text}' is a name; give an address of this machine, 0.0.0.0 for all`)
    }
    const problem = listenProblem(endpoint)
    if (problem) throw new UsageError(`${option}: ${problem}`)
    return text
  }
}

/** `1194`, `:1194` or `*:1194`, as other programs take it. */
const isPortAlone = (text: string): boolean => /^(?:\*?:)?\d{1,5}$/.test(text)
const portOf = (text: string): string => text.replace(/^.*:/, '')
const withPort = (host: string): string => (/:\d+$/.test(host) ? host : `${host}:1194`)

/** Stands for a port that was not written; none that can be is 0. */
const NO_PORT = 0

function readHostPort(option: string, text: string): HostPort {
  try {
    return parseHostPort(text, NO_PORT)
  } catch (error) {
    throw new UsageError(`${option}: ${(error as Error).message}`)
  }
}

/** One of a few words. */
export function readChoice<T extends string>(option: string, choices: readonly T[]): Reader<T> {
  return text => {
    const choice = choices.find(each => each === text)
    if (choice !== undefined) return choice
    throw new UsageError(`${option}: '${text}' is not one of ${choices.join(', ')}`)
  }
}

/**
 * An option with one value that looks as if it might have several, since a like one of another command has: refused when given twice.
 * Of all others the last counts, so that a script's own options can be followed by those of its user.
 */
export function once<T>(option: string, read: Reader<T>): (text: string, before?: T) => T {
  return (text, before) => {
    if (before !== undefined)
      throw new UsageError(`${option} is given twice, and takes one value; give it once`)
    return read(text)
  }
}

/** An option that may be repeated; the same value counts once. */
export function repeated<T>(option: string, read: Reader<T>, max = 64): (text: string, before?: T[]) => T[] {
  return (text, before = []) => {
    if (before.length >= max) throw new UsageError(`${option} is given more than ${max} times`)
    const value = read(text)
    return before.includes(value) ? before : [...before, value]
  }
}

/** `KEY=VALUE`, repeated; a key counts once. */
export function readTags(option: string) {
  return (text: string, before: Record<string, string> = {}): Record<string, string> => {
    const at = text.indexOf('=')
    const key = text.slice(0, at)
    if (at < 1) throw new UsageError(`${option}: '${text}' is not KEY=VALUE`)
    if (!/^[A-Za-z0-9._-]{1,63}$/.test(key)) {
      throw new UsageError(`${option}: the key '${key}' is not up to 63 letters, digits, '.', '_' and '-'`)
    }
    if (Object.hasOwn(before, key)) throw new UsageError(`${option}: the key '${key}' is given twice`)
    if (text.length - at > 256) throw new UsageError(`${option}: the value of '${key}' is longer than 255`)
    return { ...before, [key]: text.slice(at + 1) }
  }
}
