// What doctor says of IPsec: who does ESP here, what of strongSwan is missing, and whether its ports are free.
import { hasCapability } from '../capabilities.ts'
import type { Esp } from '../ipsec/strongswan/configuration.ts'
import { detectEsp } from '../ipsec/strongswan/esp.ts'
import { findInstallation } from '../ipsec/strongswan/packages.ts'
import { IKE_PORTS } from '../ipsec/strongswan/run.ts'
import type { IkeDaemon } from '../service-ipsec.ts'
import type { Check, CheckInit } from './checks.ts'
import type { Machine } from './machine.ts'

const NEEDED_FOR = 'IPsec attachments'

export async function ipsecChecks({ machine, running, daemon }: CheckInit): Promise<Check[]> {
  const esp = await detectEsp(async args => (await machine.run('ip', ...args)) !== undefined)
  return [
    strongswan(machine, esp),
    espCheck(machine, esp),
    running ? daemonCheck(daemon) : await ports(machine),
  ]
}

function check(name: string, state: Check['state'], found: string, fix: string): Check {
  return { name, state, essential: false, found, neededFor: NEEDED_FOR, fix: state === 'ok' ? null : fix }
}

function strongswan(machine: Machine, esp: Esp): Check {
  const { program, missing } = findInstallation(esp, {
    exists: path => machine.stat(path) !== undefined,
    program: name => machine.program(name),
  })
  const found =
    program === undefined ? 'not found' : missing.length > 0 ? `${program}, without its plugins` : program
  const state = missing.length > 0 ? 'missing' : 'ok'
  return check('strongSwan', state, found, `apt-get install ${missing.join(' ')}`)
}

function espCheck(machine: Machine, esp: Esp): Check {
  if (esp === 'kernel') return check('ESP', 'ok', 'done by the kernel', '')
  if (!hasCapability('netAdmin', machine.read('/proc/self/status') ?? ''))
    return check('ESP', 'warning', 'only root can ask the kernel for it', 'run `sudo overmesh doctor`')
  return check('ESP', 'ok', 'done by strongSwan itself (kernel-libipsec): this kernel has none', '')
}

/** Of a controller that runs. */
function daemonCheck(daemon: IkeDaemon | undefined): Check {
  const name = 'IKE daemon'
  if (daemon === undefined)
    return check('IKE ports', 'ok', 'UDP 500 and 4500 are for the running controller', '')
  const { state, problem } = daemon
  if (state === 'running' || state === 'starting')
    return check(name, 'ok', `${state}, on UDP 500 and 4500`, '')
  if (state === 'idle') return check(name, 'ok', `does not run: ${problem}`, '')
  return check(
    name,
    'warning',
    `does not run: ${problem ?? 'it is not told why'}`,
    'see `overmesh ipsec list`',
  )
}

async function ports({ bindUdp }: Machine): Promise<Check> {
  const name = 'IKE ports'
  for (const port of IKE_PORTS) {
    const reason = await bindUdp('0.0.0.0', port)
    if (reason === 'EADDRINUSE') {
      const fix = `stop the other strongSwan, or what else has it: ss -ulpn 'sport = :${port}'`
      return check(name, 'missing', `UDP ${port} is in use`, fix)
    }
    if (reason !== undefined)
      return check(name, 'missing', `UDP ${port} cannot be used (${reason})`, 'run as root')
  }
  return check(name, 'ok', 'UDP 500 and 4500 are free', '')
}
