// Whether this kernel does ESP: asked by installing a security association as strongSwan would, and removing it.
import { randomInt } from 'node:crypto'
import { thisKernel } from '../../gateway/kernel.ts'
import type { Esp } from './configuration.ts'

/** Runs ip(8); tells whether it succeeded. */
export type RunIp = (args: readonly string[]) => Promise<boolean>

/** Addresses for documentation (RFC 5737): no packet ever matches. */
const ENDS = ['src', '192.0.2.1', 'dst', '192.0.2.2', 'proto', 'esp'] as const
/** The first of the default proposals: a kernel that lacks it is better left alone. */
const CIPHER = ['aead', 'rfc4106(gcm(aes))', `0x${'00'.repeat(36)}`, '128'] as const

/** `user` where the kernel has no ESP, or lets us not use it. */
export async function detectEsp(runIp: RunIp = ask): Promise<Esp> {
  const spi = ['spi', `0x${randomInt(0x1000, 0x7fff_ffff).toString(16)}`]
  if (!(await runIp(['xfrm', 'state', 'add', ...ENDS, ...spi, 'mode', 'tunnel', ...CIPHER]))) return 'user'
  await runIp(['xfrm', 'state', 'delete', ...ENDS, ...spi])
  return 'kernel'
}

const ask: RunIp = async args => (await thisKernel.run('ip', args)).code === 0
