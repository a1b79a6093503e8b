// The daemon's own strongswan.conf: all that it reads. Options: https://docs.strongswan.org/docs/latest/config/strongswanConf.html

/** Who does ESP: the kernel, or charon by its plugin kernel-libipsec. */
export type Esp = 'kernel' | 'user'

export interface DaemonConfiguration {
  /** Path of the VICI socket. */
  readonly socket: string
  readonly esp: Esp
  /** Interfaces whose addresses no tunnel may be built on. */
  readonly ignoreInterfaces: readonly string[]
}

/** Ciphers, keys and certificates; who knows ESP comes before the kernel's plugin, which would take it too. */
const PLUGINS = {
  crypto: 'random nonce drbg openssl',
  // For an OpenSSL that lacks something; of strongSwan 6 most are no longer packaged.
  spare: 'aes sha1 sha2 hmac kdf gcm',
  keys: 'pem pkcs1 pkcs8 x509 constraints pubkey',
  user: 'kernel-libipsec',
  rest: 'kernel-netlink socket-default vici',
}

/**
 * Seconds of waiting for the first answer, and what each further wait is longer: a peer is given up after 16 s of silence, 6
 * packets. The daemon's own defaults take almost three minutes.
 */
export const RETRANSMIT = { timeout: 1, base: 1.4, tries: 5 } as const

/**
 * Its plugin kernel-libipsec sets routes whatever it is told. They go where nobody looks: into a table of their own, asked after
 * all others (ip-rule(8)).
 */
export const ROUTING_TABLE = { number: 1720, priority: 32_900 } as const

const SPARE_MISSING = new RegExp(`\\] plugin '(?:${PLUGINS.spare.replaceAll(' ', '|')})': failed to load`)

/** What a line of the log says of why the daemon may not start; undefined where it says nothing of that. */
export function startProblem(line: string): string | undefined {
  if (!/fail|unable|could not|error/i.test(line) || SPARE_MISSING.test(line)) return undefined
  return line.replace(/^\d+\[\w+\] /, '')
}

export function strongswanConf({ socket, esp, ignoreInterfaces }: DaemonConfiguration): string {
  const { crypto, spare, keys, user, rest } = PLUGINS
  const plugins = [crypto, spare, keys, ...(esp === 'user' ? [user] : []), rest]
  const ignored = ignoreInterfaces.length > 0 ? `  interfaces_ignore = ${ignoreInterfaces.join(', ')}\n` : ''
  // Log level 1 names no keys; 3 and 4 would.
  return `# Written by Overmesh at each start; changes are lost.
charon {
  load = ${plugins.join(' ')}
${ignored}  install_routes = no
  install_virtual_ip = no
  routing_table = ${ROUTING_TABLE.number}
  routing_table_prio = ${ROUTING_TABLE.priority}
  process_route = no
  close_ike_on_child_failure = yes
  make_before_break = yes
  retransmit_timeout = ${RETRANSMIT.timeout.toFixed(1)}
  retransmit_base = ${RETRANSMIT.base}
  retransmit_tries = ${RETRANSMIT.tries}
  filelog {
    stderr {
      default = 1
      ike_name = yes
      flush_line = yes
    }
  }
  plugins {
    vici {
      socket = unix://${socket}
    }
  }
}
charon-systemd {
  journal {
    default = -1
  }
}
`
}
