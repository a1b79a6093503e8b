// What this process may do of root's power: its effective capabilities (capabilities(7), proc(5)).
import { readFileSync } from 'node:fs'

/** Numbers of capability.h. */
const NUMBERS = { netBindService: 10, netAdmin: 12, netRaw: 13 } as const
export type Capability = keyof typeof NUMBERS

/** @param status text of /proc/self/status; undefined where there is none */
export function hasCapability(capability: Capability, status: string | undefined = ownStatus()): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status ?? '')?.[1]
  return effective !== undefined && ((BigInt(`0x${effective}`) >> BigInt(NUMBERS[capability])) & 1n) === 1n
}

function ownStatus(): string | undefined {
  try {
    return readFileSync('/proc/self/status', 'utf8')
  } catch {
    return undefined
  }
}
