// Whether this kernel does ESP: asked by installing a security association as strongSwan would, and removing it.
import { randomInt } from 'node:crypto'
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'
import type { Esp } from './configuration.ts'

/** Addresses for documentation (RFC 5737): no packet ever matches. */
const ENDS = ['src', '192.0.2.1', 'dst', '192.0.2.2', 'proto', 'esp'] as const
/** A kernel with one of them is one with all that matter: AES-GCM is the first of the default proposals. */
const CIPHER = ['aead', 'rfc4106(gcm(aes))', `0x${'00'.repeat(36)}`, '128'] as const

/** `user` where the kernel has no ESP, or lets us not use it. */
export async function detectEsp(run: Kernel['run'] = thisKernel.run): Promise<Esp> {
  const spi = `0x${randomInt(0x1000, 0x7fff_ffff).toString(16)}`
  const added = await run('ip', ['xfrm', 'state', 'add', ...ENDS, 'spi', spi, 'mode', 'tunnel', ...CIPHER])
  if (added.code !== 0) return 'user'
  await run('ip', ['xfrm', 'state', 'delete', ...ENDS, 'spi', spi])
  return 'kernel'
}
