// What the backbone asks of the data plane: ports to other controllers, and their keys. The switch implements it.

/** One way to a peer: a listening socket of ours and the remote address at its other end. */
export interface LinkPath {
  /** Index of the listening socket. */
  socket: number
  /** Canonical text of the remote IPv4 or IPv6 address. Never IPv4-mapped. */
  remote: string
  /** Remote UDP port. */
  port: number
  /** The local address to send from; '' leaves it to the kernel. */
  local: string
  /** Interface to send by; 0 leaves it to the kernel. */
  ifindex: number
}

/** What seals packets of one direction. */
export interface DirectionKey {
  /** The key, 32 bytes. */
  cipher: Uint8Array
  /** The implicit part of the nonce, 8 bytes. */
  hmac: Uint8Array
}

/** Both directions of a link's key. The plane copies what it keeps; the caller wipes the arrays afterwards. */
export interface LinkKeys {
  cipher: 'AES-256-GCM'
  format: 'aead'
  send: DirectionKey
  receive: DirectionKey
}

/** A link's port. Both ids are of `LINK_IDS`. */
export interface LinkSpec {
  /** Names the link in data packets that come by it, and in routes. */
  peerId: number
  /** Names the link at its other end: what data packets that leave by it carry. */
  remotePeerId: number
  path: LinkPath
  /** Longest overlay packet at most, bytes; the path may turn out to take less. */
  mtu: number
}

/** What probes have found of a link, and what passed through it since it was opened. */
export interface LinkState {
  up: boolean
  /** Smoothed round trip, ms; 0 before any. */
  rttMs: number
  /** Percent of the latest probes that were not answered. */
  lossPercent: number
  /** Longest overlay packet that the path takes in one piece, bytes. */
  mtu: number
  rxBytes: number
  txBytes: number
}

/** Nothing here waits, and what is asked for happens in the order of the calls. */
export interface LinkPlane {
  /** Opens a link, which is down at first. One that has the peer id already is closed before. */
  openLink(spec: LinkSpec): void
  /** Packets under this key are accepted from now on; another key under this id is forgotten. */
  setKey(peerId: number, keyId: number, keys: LinkKeys): void
  /** Packets are sent under this key from now on. */
  useKey(peerId: number, keyId: number): void
  dropKey(peerId: number, keyId: number): void
  moveLink(peerId: number, path: LinkPath): void
  closeLink(peerId: number): void
  /** Undefined when there is no such link. */
  linkStats(peerId: number): LinkState | undefined
}

/** Ids of links, both ends included. */
export const LINK_IDS = { first: 0xf00000, last: 0xfffffe } as const
/** Key ids are below this. */
export const KEY_IDS = 8

/** Whether two paths have the same ends. */
export function samePath(a: LinkPath, b: LinkPath): boolean {
  return a.socket === b.socket && a.remote === b.remote && a.port === b.port
}
