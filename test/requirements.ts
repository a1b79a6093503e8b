// What the lab needs of the machine, in one place, and how it is installed.
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const plugin = (name: string): string => `/usr/lib/ipsec/plugins/libstrongswan-${name}.so`

/** Debian packages (12 or newer, and Ubuntu) with a command or a file by which to tell that each is there. */
export const PACKAGES = [
  { name: 'openvpn', command: 'openvpn', use: 'the stock clients, and the server to compare with' },
  { name: 'iperf3', command: 'iperf3', use: 'traffic' },
  { name: 'nftables', command: 'nft', use: 'cutting links one way, and what a gateway lets pass' },
  { name: 'iproute2', command: 'ip', use: 'network namespaces' },
  { name: 'iputils-ping', command: 'ping', use: 'counting what gets lost' },
  { name: 'openssl', command: 'openssl', use: 'certificates of strangers' },
  { name: 'tcpdump', command: 'tcpdump', use: 'recording packets to replay them' },
  { name: 'procps', command: 'ps', use: 'looking for what a run left behind' },
  { name: 'charon-systemd', command: 'charon-systemd', use: 'IPsec: controllers and sites' },
  { name: 'strongswan-swanctl', command: 'swanctl', use: 'sites that run plain strongSwan' },
  {
    name: 'libcharon-extra-plugins',
    command: plugin('kernel-libipsec'),
    use: 'ESP where the kernel has none',
  },
  { name: 'libstrongswan-standard-plugins', command: plugin('openssl'), use: 'ciphers of IPsec' },
] as const

/** Debian keeps administrators' commands out of other users' PATH. */
const COMMAND_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin']

export function hasCommand(command: string): boolean {
  if (command.startsWith('/')) return existsSync(command)
  return COMMAND_PATH.some(directory => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const isRoot = (): boolean => process.getuid?.() === 0

export interface Package {
  readonly name: string
  /** By which to tell that it is there. */
  readonly command: string
  readonly use: string
}

export const missingPackages = <T extends Package>(packages: readonly T[]): T[] =>
  packages.filter(({ command }) => !hasCommand(command))

/** As root. @throws Error that says what to do */
export function installPackages(packages: readonly Package[], say: (line: string) => void): void {
  if (packages.length === 0) return
  const names = packages.map(({ name }) => name)
  if (!hasCommand('apt-get'))
    throw new Error(`missing: ${names.join(' ')}; install them, this is not a Debian or Ubuntu`)
  say(`installing ${names.join(' ')}`)
  aptGet('update')
  aptGet('install', '-y', '--no-install-recommends', ...names)
}

function aptGet(...args: string[]): void {
  const run = spawnSync(
    'apt-get',
    ['-q', '-o', 'Acquire::Retries=3', '-o', 'DPkg::Lock::Timeout=300', ...args],
    {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    },
  )
  if (run.status === 0) return
  const reason = run.error?.message ?? `${run.stdout}${run.stderr}`.trim().split('\n').slice(-15).join('\n')
  throw new Error(`apt-get ${args[0]} failed:\n${reason}`)
}

/**
 * Makes sure that the lab can run: installs missing packages as root, and says what to do about anything else.
 * Returns the reasons why it cannot, none when it can.
 */
export function prepareForLab(say: (line: string) => void): string[] {
  const missing = missingPackages(PACKAGES)
  const names = missing.map(entry => entry.name).join(' ')
  if (!isRoot()) {
    const reasons = ['the lab needs root, for network namespaces: run as root (sudo npm test)']
    if (missing.length > 0) {
      reasons.push(
        `missing Debian packages: ${names}; as root they are installed by this command, or: apt-get install ${names}`,
      )
      for (const entry of missing) reasons.push(`  ${entry.name}: ${entry.use}`)
    }
    reasons.push('without root, `npm run test:unit` runs everything but the lab')
    return reasons
  }
  try {
    installPackages(missing, say)
  } catch (error) {
    return [(error as Error).message, `the lab needs these packages: ${names}; install them and run again`]
  }
  return kernelReasons()
}

function kernelReasons(): string[] {
  const reasons: string[] = []
  if (!existsSync('/dev/net/tun'))
    reasons.push(
      '/dev/net/tun is missing: modprobe tun; in a container, start it with --device /dev/net/tun --cap-add NET_ADMIN',
    )
  const name = `omtest-${process.pid}`
  const add = spawnSync('ip', ['netns', 'add', name], { encoding: 'utf8' })
  if (add.status !== 0)
    reasons.push(
      `network namespaces do not work here (ip netns add: ${add.stderr.trim()}); in a container, start it with --privileged`,
    )
  else spawnSync('ip', ['netns', 'delete', name])
  return reasons
}
