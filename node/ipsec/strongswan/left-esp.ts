// What a daemon that was killed leaves in a kernel that does ESP: its associations and policies. The associations would take packets by
// old keys, and the policies, which never expire, send packets by associations whose other end is gone.
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'

/** First line of an entry of `ip xfrm state` and `ip xfrm policy`; the others are indented. */
const ENTRY = /^(?=src )/m
const ENDS = /^src (\S+) dst (\S+)/
/** IKE daemons number what belongs together; who sets associations by hand need not. */
const TUNNEL = /\bproto esp (?:spi (0x[\da-f]+)(?:\(\d+\))? )?reqid ([1-9]\d*)(?:\(\w+\))? mode tunnel\b/
const DIRECTION = /\bdir (in|out|fwd)\b/
/** Told apart by more than their ends: not of ours. */
const FURTHER = /^src .* (?:proto|[sd]port|type|code|dev) |\b(?:mark|if_id) /

/** Lines for `ip -batch -` that remove what is listed, but for what no such daemon makes. @param states, policies as ip(8) lists them */
export function removingLeft(states: string, policies: string): string[] {
  return [
    ...policies.split(ENTRY).flatMap(entry => {
      const [, source, target] = ENDS.exec(entry) ?? []
      const [, direction] = DIRECTION.exec(entry) ?? []
      if (source === undefined || direction === undefined || !TUNNEL.test(entry) || FURTHER.test(entry))
        return []
      return [`xfrm policy delete src ${source} dst ${target} dir ${direction}`]
    }),
    ...states.split(ENTRY).flatMap(entry => {
      const [, source, target] = ENDS.exec(entry) ?? []
      const [, spi] = TUNNEL.exec(entry) ?? []
      if (source === undefined || spi === undefined || FURTHER.test(entry)) return []
      return [`xfrm state delete src ${source} dst ${target} proto esp spi ${spi}`]
    }),
  ]
}

/** To be called while no IKE daemon runs here. */
export async function removeLeft(kernel: Pick<Kernel, 'run'> = thisKernel): Promise<void> {
  const [states, policies] = await Promise.all(
    ['state', 'policy'].map(kind => kernel.run('ip', ['xfrm', kind])),
  )
  const lines = removingLeft(states.stdout, policies.stdout)
  // What expires meanwhile is no reason to leave the others.
  if (lines.length > 0)
    await kernel.run('ip', ['-force', '-batch', '-'], lines.map(line => `${line}\n`).join(''))
}
