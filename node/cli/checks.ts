// What a machine has, what it lacks, what that is needed for, and how to get it.

import { join } from 'node:path'
import { hasCapability } from '../capabilities.ts'
import { type ForeignChain, passRules, readChains } from '../gateway/chains.ts'
import { IP_FORWARD, IP6_FORWARD, switchOnWords } from '../gateway/forwarding.ts'
import type { IkeDaemon } from '../service-ipsec.ts'
import { ipsecChecks } from './ipsec-checks.ts'
import type { Machine } from './machine.ts'

export interface Check {
  name: string
  state: 'ok' | 'warning' | 'missing'
  /** Without it a controller does not run. */
  essential: boolean
  found: string
  neededFor: string
  /** What to do, null where nothing is wrong. */
  fix: string | null
}

export interface CheckInit {
  machine: Machine
  dataDir: string
  /** A controller runs on the data directory: its ports are in use, as they should be. */
  running: boolean
  /** Of that controller, where it says. */
  daemon?: IkeDaemon
}

/** UDP_SEGMENT came with Linux 4.18, UDP_GRO with 5.0. */
const OFFLOAD_KERNEL = [5, 0] as const
/** What a burst of one switch batch from many clients takes, with room; bytes. */
const RECEIVE_BUFFER = 4 * 1024 * 1024
const MIN_FILES = 1024

/** Runs every check, in the order in which they matter. */
export async function checkMachine(init: CheckInit): Promise<Check[]> {
  const { machine } = init
  // Before the directory: to open it closes what others could read.
  const contents = await controllerData(init)
  return [
    node(machine),
    platform(machine),
    dataDirectory(init),
    ...contents,
    ...(await ports(init)),
    openFiles(machine),
    networkAdmin(machine),
    tunDevice(machine),
    offloads(machine),
    receiveBuffer(machine),
    await clock(machine),
    program(machine, 'ip', 'iproute2', 'a gateway: routes between the overlay and other networks'),
    program(machine, 'nft', 'nftables', 'a gateway: what may pass between the overlay and other networks'),
    forwarding(machine, 'IPv4', IP_FORWARD, 'net.ipv4.ip_forward'),
    forwarding(machine, 'IPv6', IP6_FORWARD, 'net.ipv6.conf.all.forwarding'),
    ...(await firewalls(machine)),
    ...(await ipsecChecks(init)),
    program(machine, 'swanctl', 'strongswan-swanctl', 'looking into IPsec attachments by hand'),
  ]
}

function check(
  name: string,
  state: Check['state'],
  found: string,
  neededFor: string,
  fix: string | null = null,
  essential = false,
): Check {
  return { name, state, essential, found, neededFor, fix: state === 'ok' ? null : fix }
}

function node({ nodeVersion }: Machine): Check {
  const good = atLeast(nodeVersion, [22, 18])
  const fix = 'install Node 24, or run it from a checkout by `npx overmesh`'
  return check('node', good ? 'ok' : 'missing', nodeVersion, 'running at all (22.18 or newer)', fix, true)
}

function platform({ platform, kernel }: Machine): Check {
  const good = platform === 'linux'
  const fix = 'run the controller on Linux; clients may run on anything'
  return check(
    'system',
    good ? 'ok' : 'missing',
    `${platform} ${kernel}`,
    'running at all (Linux)',
    fix,
    true,
  )
}

function dataDirectory({ machine, dataDir }: CheckInit): Check {
  const result = (state: Check['state'], found: string, fix?: string) =>
    check('data directory', state, found, 'state and keys', fix, true)
  const info = machine.stat(dataDir)
  if (info === undefined) return result('ok', `${dataDir} is not there yet; \`overmesh init\` makes it`)
  if (!info.isDirectory())
    return result('missing', `${dataDir} is not a directory`, 'choose another with --data')
  if (info.uid !== machine.uid && machine.uid !== 0) {
    return result(
      'missing',
      `${dataDir} is another user's`,
      'run as its owner, or choose another with --data',
    )
  }
  if (!machine.accessible(dataDir)) {
    return result('missing', `${dataDir} cannot be written`, `give it back: chmod 700 ${dataDir}`)
  }
  if ((info.mode & 0o077) !== 0) {
    return result('warning', `${dataDir} is open to other users`, `close it: chmod 700 ${dataDir}`)
  }
  return result('ok', dataDir)
}

/** What a controller would read at its start; none where there is nothing yet, or what is there is not ours to open. */
async function controllerData(init: CheckInit): Promise<Check[]> {
  const { machine, dataDir, running } = init
  const info = machine.stat(dataDir)
  // Root's own files among those of another user would keep the other's controller from starting.
  if (running || info?.uid !== machine.uid || dataDirectory(init).state === 'missing') return []
  const opened = await machine.openController(dataDir)
  const result = (state: Check['state'], found: string, fix?: string) => [
    check('records and keys', state, found, 'a controller', fix, true),
  ]
  switch (opened.state) {
    case 'none':
      return []
    case 'busy':
      return result('warning', opened.problem, 'try again in a moment')
    case 'unusable': {
      const [problem, ...remedy] = opened.problem.split('; ')
      return result(
        'missing',
        problem,
        remedy.join('; ') || 'see "The data directory" in docs/troubleshooting.md',
      )
    }
    case 'good': {
      if (opened.notices.length === 0) return result('ok', 'whole')
      return result('warning', opened.notices.join('; '), 'it is said once; `overmesh events` keeps it')
    }
  }
}

async function ports(init: CheckInit): Promise<Check[]> {
  const { machine, dataDir } = init
  const { listen, meshListen, api } = listenAddresses(machine.read(join(dataDir, 'config.json')))
  return Promise.all([
    ...listen.map(endpoint => port(init, 'UDP', endpoint)),
    port(init, 'TCP', meshListen),
    ...api.map(endpoint => port(init, 'TCP', endpoint, 'the API over TCP')),
  ])
}

async function port(
  { machine, running }: CheckInit,
  protocol: 'UDP' | 'TCP',
  endpoint: string,
  ofMinor?: string,
): Promise<Check> {
  const at = endpoint.lastIndexOf(':')
  const host = endpoint.slice(0, at).replace(/^\[|\]$/g, '')
  const number = endpoint.slice(at + 1)
  const neededFor = ofMinor ?? (protocol === 'UDP' ? 'clients to connect' : 'other controllers to connect')
  const isEssential = ofMinor === undefined
  const result = (state: Check['state'], found: string, fix?: string) =>
    check(`${protocol} port`, state, `${endpoint} ${found}`, neededFor, fix, isEssential)
  if (running) return result('ok', 'is served by the running controller')
  const bind = protocol === 'UDP' ? machine.bindUdp : machine.bindTcp
  const reason = await bind(host, Number(number))
  if (reason === undefined) return result('ok', 'is free')
  if (reason === 'EADDRINUSE') {
    const sockets = protocol === 'UDP' ? '-ulpn' : '-tlpn'
    return result('missing', 'is in use', `find who has it: ss ${sockets} 'sport = :${number}'`)
  }
  if (reason === 'EACCES')
    return result('missing', 'needs root', 'run as root, or listen on a port above 1023')
  return result('missing', `cannot be used (${reason})`, 'listen on an address of this machine')
}

/** What a configuration says, or what `init` would choose. */
function listenAddresses(config: string | undefined) {
  const chosen = { listen: ['0.0.0.0:1194'], meshListen: '0.0.0.0:4001', api: [] as string[] }
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every(each => typeof each === 'string')
  try {
    const { listen, meshListen, api } = JSON.parse(config ?? '{}')
    if (isList(listen)) chosen.listen = listen
    if (isList(api?.listen)) chosen.api = api.listen
    if (typeof meshListen === 'string') chosen.meshListen = meshListen
  } catch {
    // A damaged configuration is told by the commands that use it.
  }
  return chosen
}

function openFiles({ read }: Machine): Check {
  const soft = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits') ?? '')?.[1]
  const enough = soft === 'unlimited' || Number(soft) >= MIN_FILES
  const fix = 'raise it: ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit'
  return check(
    'open files',
    enough ? 'ok' : 'warning',
    soft ?? 'unknown',
    `the store (${MIN_FILES} or more)`,
    fix,
  )
}

function networkAdmin({ uid, read }: Machine): Check {
  const capable = hasCapability('netAdmin', read('/proc/self/status') ?? '')
  const found = capable
    ? uid === 0
      ? 'root'
      : 'CAP_NET_ADMIN'
    : uid === 0
      ? 'root without CAP_NET_ADMIN'
      : 'neither'
  const fix = 'run `sudo overmesh up`; in a container add --cap-add NET_ADMIN'
  return check(
    'network administration',
    capable ? 'ok' : 'missing',
    found,
    'a TUN interface; without it, the machine itself is not part of the overlay',
    fix,
  )
}

function tunDevice({ stat, accessible }: Machine): Check {
  const path = '/dev/net/tun'
  const present = stat(path) !== undefined
  const usable = present && accessible(path)
  const fix = present ? 'run as root' : 'load it: modprobe tun; in a container add --device /dev/net/tun'
  const found = usable ? path : present ? `${path} is not ours to open` : `no ${path}`
  return check('TUN device', usable ? 'ok' : 'missing', found, 'a TUN interface', fix)
}

function offloads({ kernel }: Machine): Check {
  const good = atLeast(kernel, OFFLOAD_KERNEL)
  return check(
    'UDP offloads',
    good ? 'ok' : 'warning',
    `Linux ${kernel}${good ? ' has UDP_SEGMENT and UDP_GRO' : ''}`,
    'full speed',
    'use Linux 5.0 or newer; it works without, at more CPU time a packet',
  )
}

function receiveBuffer({ read }: Machine): Check {
  const bytes = Number(read('/proc/sys/net/core/rmem_max') ?? Number.NaN)
  return check(
    'receive buffer',
    bytes >= RECEIVE_BUFFER ? 'ok' : 'warning',
    Number.isNaN(bytes) ? 'unknown' : `net.core.rmem_max = ${bytes}`,
    'bursts from many clients without loss',
    `raise it: sysctl -w net.core.rmem_max=${2 * RECEIVE_BUFFER} (root's controller does without)`,
  )
}

function forwarding(
  { read, accessible }: Machine,
  version: 'IPv4' | 'IPv6',
  path: string,
  sysctl: string,
): Check {
  const on = read(path)?.trim() === '1'
  const settable = accessible(path)
  return check(
    `${version} forwarding`,
    on || settable ? 'ok' : 'missing',
    on ? 'on' : settable ? 'off; a gateway switches it on while it runs' : 'off, and not ours to switch on',
    `a gateway between the overlay and other networks${version === 'IPv6' ? ', of IPv6' : ''}`,
    switchOnWords(sysctl),
  )
}

/** Firewalls that would drop what a gateway forwards; none where root is needed to see. */
async function firewalls({ run }: Machine): Promise<Check[]> {
  const listed = await run('nft', '-j', 'list', 'chains')
  let droppers: readonly ForeignChain[] = []
  try {
    droppers = readChains(listed ?? '{}').droppers
  } catch {
    // Of a version that writes something else: then the gateway says so itself.
  }
  const checks = droppers.map(async chain => {
    const { family, table, name } = chain
    const passes = (await run('nft', 'list', 'table', family, table))?.includes('"overmesh') ?? false
    const found = `table ${family} ${table}, chain ${name} drops what it does not accept`
    return check(
      'firewall',
      passes ? 'ok' : 'warning',
      passes ? `${found}, and names the overlay` : found,
      'a gateway: overlay traffic must be let pass there too',
      `let it pass: ${passRules(chain, 'overmesh*').join('; ')}`,
    )
  })
  return Promise.all(checks)
}

async function clock({ run }: Machine): Promise<Check> {
  const answer = await run('timedatectl', 'show', '--property=NTPSynchronized', '--value')
  const found = answer === 'yes' ? 'synchronised' : answer === 'no' ? 'not synchronised' : 'unknown'
  return check(
    'clock',
    answer === 'yes' ? 'ok' : 'warning',
    found,
    'certificates, and writes that other controllers accept (within 60 s)',
    answer === undefined
      ? 'make sure the host keeps time by NTP; from here it cannot be seen'
      : 'keep time by NTP: apt-get install chrony',
  )
}

function program({ program }: Machine, name: string, debianPackage: string, neededFor: string): Check {
  const path = program(name)
  return check(
    name,
    path ? 'ok' : 'missing',
    path ?? 'not found',
    neededFor,
    `apt-get install ${debianPackage}`,
  )
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [first, second = 0] = version.split('.').map(part => Number.parseInt(part, 10))
  return first > major || (first === major && second >= minor)
}
