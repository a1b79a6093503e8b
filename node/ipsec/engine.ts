// What a controller asks of the IKE daemon, and what it hears from it: the border between attachments and strongSwan.

/** How the two ends of a tunnel know each other. */
export type TunnelAuthentication =
  | { readonly method: 'psk'; readonly secret: Uint8Array }
  | {
      readonly method: 'certificate'
      /** PEM: this controller's certificate, the authorities that it chains to, and its key. */
      readonly certificate: string
      readonly chain: readonly string[]
      readonly key: string
      /** PEM: the authority that signed the remote end's certificate. */
      readonly remoteAuthority: string
    }

/** One attachment as this controller terminates it now. */
export interface Tunnel {
  /** The attachment's. */
  readonly id: string
  readonly name: string
  /** Address or host name of the remote device; `%any` for one that dials in from anywhere. */
  readonly remote: string
  readonly localId: string | undefined
  readonly remoteId: string | undefined
  readonly authentication: TunnelAuthentication
  readonly ikeVersion: 1 | 2
  /** In strongSwan's notation; none: sound defaults. */
  readonly ikeProposals: readonly string[]
  readonly espProposals: readonly string[]
  /** IPv4 prefixes. */
  readonly localSubnets: readonly string[]
  readonly remoteSubnets: readonly string[]
  /** 0: no dead peer detection. */
  readonly dpdSeconds: number
  readonly ikeLifetimeSeconds: number
  readonly childLifetimeSeconds: number
  /** ESP goes in UDP though no NAT is between. */
  readonly encapsulate: boolean
  /** Whether this controller dials, now; it answers in any case. */
  readonly initiate: boolean
  /** Another controller has it up: the device sends all the time, and nothing is to be lost while it moves here. */
  readonly takesOver: boolean
}

/** Inbound and outbound security parameter index, 8 hex digits. */
export interface ChildSa {
  readonly name: string
  readonly state: string
  readonly spiIn: string
  readonly spiOut: string
  readonly encryption: string
  readonly localSubnets: readonly string[]
  readonly remoteSubnets: readonly string[]
  readonly bytesIn: number
  readonly bytesOut: number
  readonly packetsIn: number
  readonly packetsOut: number
  /** Seconds. */
  readonly ageSeconds: number
  readonly rekeySeconds: number | undefined
  readonly lifeSeconds: number | undefined
}

/** An IKE SA of a tunnel; while it is rekeyed there may be two. */
export interface IkeSa {
  readonly tunnel: string
  readonly uniqueId: string
  readonly state: string
  readonly version: 1 | 2
  readonly initiator: boolean
  /** Host and UDP port. */
  readonly localHost: string
  readonly remoteHost: string
  readonly localId: string
  readonly remoteId: string
  readonly encryption: string
  readonly nat: boolean
  readonly ageSeconds: number | undefined
  readonly rekeySeconds: number | undefined
  readonly children: readonly ChildSa[]
}

export type EngineState = 'off' | 'starting' | 'running' | 'failed'

/** The IKE daemon of this controller. What it is told to do is done in order; a restart of the daemon loads all again. */
export interface IpsecEngine {
  readonly state: EngineState
  /** In words, and what to do: why it is not running. */
  readonly problem: string | undefined
  /** `kernel` or `user`: who does ESP; undefined before it runs. */
  readonly esp: 'kernel' | 'user' | undefined
  /** The interface that user ESP comes out of, and goes into; undefined where the kernel does ESP, or none runs. */
  readonly device: string | undefined
  /** Packets that devices sent from or to addresses that are not agreed; undefined where the kernel does ESP, or none runs. */
  readonly refusedPackets: number | undefined
  /** `state`, `problem` or `esp` is another than before. */
  onState: () => void
  /**
   * The tunnel carries packets from now on: a child SA was installed where none was. Again after a restart of the daemon. Resolves when
   * this machine takes what comes by it.
   */
  onUp: (tunnel: string) => void | Promise<void>
  /** No child SA of the tunnel is left. */
  onDown: (tunnel: string) => void
  /** What went wrong with a tunnel, in plain words; never a secret. */
  onProblem: (tunnel: string, problem: string) => void
  start(): Promise<void>
  /** Ends all tunnels in order (the remote ends are told), and the daemon. */
  stop(): Promise<void>
  /**
   * These tunnels and no others: loads, replaces and unloads what changed, and leaves the others alone.
   * @param isWelcoming false: devices that call get no answer, not even a refusal. @default true
   */
  set(tunnels: readonly Tunnel[], isWelcoming?: boolean): Promise<void>
  /** Dials; resolves when the tunnel is up. @throws IpsecError in plain words when it does not come up in `timeoutMs` */
  initiate(tunnel: string, timeoutMs: number): Promise<void>
  /** Closes what is up, tells the remote end, and takes what that sent before it heard of it. */
  terminate(tunnel: string): Promise<void>
  sas(): Promise<IkeSa[]>
}

export class IpsecError extends Error {
  override name = 'IpsecError'
}
