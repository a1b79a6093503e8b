// The OpenVPN 3 client of Debian on a host, by its own commands: its services are on a D-Bus of their own, which starts them.
import { basename } from 'node:path'
import { inRoot } from './debian-suite.ts'
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'

export const OPENVPN3_PACKAGES = ['openvpn3-client', 'dbus-daemon']

/** Its services may own their names, and are started by the bus itself, all as root: there is no other user in there. */
const BUS = `<busconfig><type>system</type><auth>EXTERNAL</auth>
<listen>unix:path=/run/dbus/system_bus_socket</listen><servicedir>/etc/services</servicedir>
<policy context="default"><allow eavesdrop="true"/><allow send_destination="*" eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`
/** What the packages' scripts would have made, in a place that ends with the bus. */
const PREPARE = `
root=$1; shift
for each in etc run var; do
  mkdir -p "$root/$each"; mount -t tmpfs tmpfs "$root/$each"
done
mkdir -p "$root/run/dbus" "$root/var/lib/openvpn3/configs" "$root/etc/services"
cp "$root"/usr/share/dbus-1/system-services/net.openvpn.v3.* "$root/etc/services"
printf '%s:x:0:0::/:/bin/false\\n' root messagebus _openvpn > "$root/etc/passwd"
printf '%s:x:0:\\n' root messagebus _openvpn > "$root/etc/group"
printf %s "$BUS" > "$root/etc/bus.conf"
echo 'nameserver 192.0.2.1' > "$root/etc/resolv.conf"
echo '{"resolv_conf_file": "/etc/resolv.conf"}' > "$root/var/lib/openvpn3/netcfg.json"
exec "$@"
`

export class Openvpn3Client {
  readonly host: Host
  /** The bus, with all that the services say. */
  readonly process: LabProcess
  private constructor(host: Host, process: LabProcess) {
    this.host = host
    this.process = process
  }

  /** Connects. @param root by `fetchDebian` */
  static async connect(host: Host, pack: string, root: string): Promise<Openvpn3Client> {
    const bus = ['dbus-daemon', '--config-file=/etc/bus.conf', '--nofork', '--nopidfile', '--print-address']
    const env = { ...process.env, BUS, DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/run/dbus/system_bus_socket' }
    const argv = ['sh', '-euc', PREPARE, 'sh', root, ...inRoot(root, bus)]
    const daemon = await host.spawn(`openvpn3 ${host.name} ${basename(root)}`, argv, env)
    const client = new Openvpn3Client(host, daemon)
    await client.says(/^unix:path=/m)
    await client.#run('openvpn3-admin', 'log-service', '--log-level', '6')
    await client.#run('openvpn3', 'session-start', '--config', pack, '--timeout', '20')
    await client.says(/Client INFO: Connected: /)
    return client
  }

  /** Waits for a line of its log. */
  says(pattern: RegExp, seconds = 20, since = 0): Promise<RegExpExecArray> {
    return this.process.waitFor(pattern, seconds, since)
  }

  mark(): number {
    return this.process.mark()
  }

  /** How often it did a handshake: to connect, and to renew keys. */
  get handshakes(): number {
    return this.process.count(/SSL Handshake: peer certificate/)
  }

  /** Runs a command beside the services, on their bus. */
  #run(...argv: string[]): Promise<string> {
    return this.host.exec('nsenter', '-t', String(this.process.pid), '-m', '-r', '-w', ...argv)
  }
}
