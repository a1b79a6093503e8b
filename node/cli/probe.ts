import type { Command } from 'commander'
export function probeCommand(_program: Command): void {}
