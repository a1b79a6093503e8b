// A router between two hosts that takes packets of so many bytes at most, whether it says so or not.
import type { Host } from './host.ts'
import type { Lab } from './lab.ts'

export class NarrowRouter {
  readonly #host: Host

  private constructor(host: Host) {
    this.#host = host
  }

  static async make(lab: Lab): Promise<NarrowRouter> {
    const host = await lab.host('router')
    await host.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0')
    await host.exec('sysctl', '-qw', 'net.ipv4.conf.eth0.send_redirects=0')
    return new NarrowRouter(host)
  }

  /** Puts it between two hosts. @param isSilent it sends no ICMP */
  async between(ends: readonly [Host, Host], bytes: number, isSilent: boolean): Promise<void> {
    const router = this.#host
    if (isSilent) {
      await router.exec('nft', 'add table ip silent')
      await router.exec('nft', 'add chain ip silent out { type filter hook output priority 0; }')
      await router.exec('nft', 'add rule ip silent out icmp type destination-unreachable drop')
    }
    for (const [from, to] of [ends, ends.toReversed()]) {
      await router.ip('route', 'replace', `${to.ip4}/32`, 'dev', 'eth0', 'mtu', 'lock', String(bytes))
      await from.ip('route', 'replace', `${to.ip4}/32`, 'via', router.ip4)
      await from.ip('route', 'flush', 'cache')
    }
  }

  /** Takes it away again. */
  async remove(ends: readonly [Host, Host]): Promise<void> {
    await this.#host.attempt(['nft', 'delete table ip silent'])
    for (const [from, to] of [ends, ends.toReversed()]) {
      await from.ip('route', 'delete', `${to.ip4}/32`)
      await from.ip('route', 'flush', 'cache')
    }
  }
}
