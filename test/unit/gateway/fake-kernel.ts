// A kernel that remembers what is done to it, and gateways on it.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataDirectory } from '../../../node/data-directory.ts'
import type { GatewayDescription } from '../../../node/gateway/description.ts'
import { Gateway, type GatewayInit } from '../../../node/gateway/gateway.ts'
import type { CommandResult, Kernel } from '../../../node/gateway/kernel.ts'
import type { News } from '../../../node/gateway/observed-kernel.ts'
import { parseCidr } from '../../../node/net/ip.ts'

export const ok = (stdout = ''): CommandResult => ({ code: 0, stdout, stderr: '', missing: false })
export const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward'

/** Remembers what is done to it. */
export class FakeKernel implements Kernel {
  readonly files = new Map([
    [IP_FORWARD, '0'],
    ['/proc/sys/net/ipv4/conf/overmesh0/forwarding', '1'],
    ['/proc/sys/kernel/random/boot_id', 'boot-1'],
  ])
  readonly done: string[] = []
  readonly written: string[] = []
  answer: (program: string, args: readonly string[]) => CommandResult | undefined = () => undefined
  refuse: string | undefined
  /** Rules by table. */
  tables = new Map<string, string>()
  /** Chains of others. */
  foreign: object[] = []
  running = 0

  async run(program: 'nft' | 'ip', args: readonly string[], input = ''): Promise<CommandResult> {
    assert.equal(++this.running, 1, 'one command at a time')
    await sleep(1)
    this.running--
    const told = this.answer(program, args)
    if (told !== undefined) return told
    if (args.includes('chains')) {
      const chain = { family: 'inet', name: 'forward' }
      const own = [...this.tables].flatMap(([table, text]) => [
        { ...chain, table },
        ...[...text.matchAll(/^ *chain (\S+) \{ \}$/gm)].map(([, name]) => ({ ...chain, name, table })),
      ])
      return ok(JSON.stringify({ nftables: [...own, ...this.foreign].map(each => ({ chain: each })) }))
    }
    if (args.includes('show')) return ok('[]')
    for (const [, name] of input.matchAll(/^delete table inet (\S+)$/gm)) this.tables.delete(name)
    for (const [, name] of input.matchAll(/^table inet (\S+) \{$/gm)) this.tables.set(name, input)
    for (const [, table, chain] of input.matchAll(/^add chain inet (\S+) (\S+)$/gm))
      this.tables.set(table, `${this.tables.get(table)}chain ${chain} { }\n`)
    this.done.push(`${program} ${args.join(' ')}\n${input}`)
    return ok()
  }
  read(path: string): string | undefined {
    return this.files.get(path)
  }
  write(path: string, text: string): void {
    this.written.push(`${path} ${text}`)
    if (this.refuse !== undefined) throw Object.assign(new Error('refused'), { code: this.refuse })
    this.files.set(path, text)
  }
  list(path: string): string[] {
    const inside = [...this.files.keys()].filter(each => each.startsWith(`${path}/`))
    return [...new Set(inside.map(each => each.slice(path.length + 1).split('/')[0]))]
  }
  link(): string {
    return 'net:[4026531840]'
  }
  get rules(): string[] {
    return this.done.filter(each => each.includes('table inet') && each.includes('chain forward'))
  }
}

/** News that are there when a test says so. */
export class FakeNews implements News {
  are = false
  closed = false
  take(): boolean {
    const were = this.are
    this.are = false
    return were
  }
  close(): void {
    this.closed = true
  }
}

export const cidr = (text: string) => parseCidr(text)!
export const description = (changes: Partial<GatewayDescription> = {}): GatewayDescription => ({
  tunName: 'overmesh0',
  subnet: cidr('10.77.0.0/16'),
  kernelRoutes: [],
  forwarded: [cidr('192.168.5.0/24')],
  masqueraded: [],
  ...changes,
})

export async function start(
  t: TestContext,
  kernel: Kernel,
  at?: string,
  id = 'alpha',
  more: Partial<GatewayInit> = {},
): Promise<[Gateway, string]> {
  const directory = at ?? (await mkdtemp(join(tmpdir(), 'overmesh-test-')))
  const init = { directory: new DataDirectory(directory), id, kernel, grainMs: 5, lookMs: 60_000 }
  const gateway = await Gateway.start({ ...init, ...more })
  t.after(async () => {
    await gateway.stop()
    if (at === undefined) await rm(directory, { recursive: true })
  })
  return [gateway, directory]
}

export async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 5000
  while (!holds()) {
    assert.ok(Date.now() < end, 'it takes too long')
    await sleep(1)
  }
}
