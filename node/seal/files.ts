// What a zip holds for a host that is to be sealed: ruleset, script, systemd units, and how to use them.
import type { Remote } from '../pki/clientpack.ts'
import type { SealException } from './exceptions.ts'
import { sealNames, sealRuleset } from './ruleset.ts'
import { SEAL_SCRIPT } from './script.ts'

const HOME = '/usr/local/lib/overmesh-seal'
/** Seconds between two looks at whether the seal is still there. */
const REFRESH_SECONDS = 60

export interface SealFile {
  readonly content: string
  /** To be run, not only read. */
  readonly isProgram?: boolean
}

/** Files by name. */
export function sealFiles(
  controllers: readonly Remote[],
  allow: readonly SealException[],
): Record<string, SealFile> {
  return {
    seal: { content: SEAL_SCRIPT, isProgram: true },
    'overmesh-seal.nft': { content: sealRuleset({ controllers, allow }) },
    names: { content: sealNames(controllers) },
    'overmesh-seal.service': { content: SERVICE },
    'overmesh-seal-refresh.service': { content: REFRESH },
    'overmesh-seal-refresh.timer': { content: TIMER },
    'README.txt': { content: README },
  }
}

/** Before any interface is up, so that there is no unsealed moment; nftables.service flushes everything at each start and reload, so after that. */
const SERVICE = `[Unit]
Description=Overmesh seal: nothing but the overlay gets in or out
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Conflicts=shutdown.target
ConditionPathExists=${HOME}/overmesh-seal.nft

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${HOME}/seal refresh
ExecReload=${HOME}/seal refresh

[Install]
WantedBy=sysinit.target
`

const REFRESH = `[Unit]
Description=Overmesh seal: kept in place, names of controllers resolved anew
ConditionPathExists=${HOME}/overmesh-seal.nft

[Service]
Type=oneshot
ExecStart=${HOME}/seal refresh
`

const TIMER = `[Unit]
Description=Overmesh seal: kept in place

[Timer]
OnActiveSec=${REFRESH_SECONDS}
OnUnitActiveSec=${REFRESH_SECONDS}
AccuracySec=1s

[Install]
WantedBy=timers.target
`

const README = `Seals the host that this credential is for: its network interfaces let nothing in or out but the tunnel to the
controllers, what the host needs to keep its address (DHCP, neighbour discovery), and what was excepted with
--seal-allow. Start the tunnel first, then, as root, in this directory:

    ./seal apply --try 60    seal, and unseal after 60 s unless you run \`./seal confirm\`: you may be cutting yourself off
    ./seal install           seal now and at every start, before the network is up (systemd; without it, run
                             \`./seal refresh\` early at each start)
    ./seal status            what was refused
    ./seal unseal            take it away, files too: everything is as it was before

It is a table of nftables of its own, loaded in one step; no other table is touched. Connections outside the overlay end
when it is applied, your own ssh session too unless it comes through the overlay or was excepted. Other tables may refuse
more; they cannot allow more.

All controllers of this pack are in it, so that a failover finds its way open. When controllers were added or moved, make
the pack anew ("overmesh status" names packs that are stale) and run \`./seal install\` of the new one.
Controllers that are known by name are resolved when the seal is applied, and every minute after \`install\`; a sealed
host resolves names through the overlay, or as excepted (out:udp/53@ADDRESS). Addresses found last are remembered, in
/etc/hosts too (marked, and gone with \`./seal unseal\`), so that openvpn finds them after a start.
What flushes all of nftables takes the seal away, too. After \`install\` it comes back, with the addresses found last: at
once when nftables.service is started or reloaded, else within a minute.

The interfaces of the tunnel are those named tun*: if openvpn runs with another --dev, change \`define tunnel\` in
overmesh-seal.nft first. Docker and the like: what they forward is shut, too. A network behind this host that the overlay
is to reach needs --seal-allow PREFIX.
`
