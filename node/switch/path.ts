// Where a UDP packet came from and which way its answer leaves.

/** One way to a peer: a listening socket of ours and the remote address at its other end. */
export interface Path {
  /** Index of the listening socket, in the order of `SwitchOptions.listen`. */
  socket: number
  /** Canonical text of the remote IPv4 or IPv6 address. Never IPv4-mapped: IPv6 sockets are V6ONLY. */
  remote: string
  /** Remote UDP port. */
  port: number
  /** The local address that was asked, from which answers must leave; '' when unknown. */
  local: string
  /** Interface the packet came in by; 0 when unknown. Link-local IPv6 remotes need it. */
  ifindex: number
}

/** Names a path's remote end: equal keys are the same peer address on the same listening socket. */
export function pathKey(path: Path): string {
  return `${path.socket}/${path.remote}/${path.port}`
}

/** The remote end for people and logs: `1.2.3.4:1194` or `[::1]:1194`. */
export function formatRemote(path: Path): string {
  return path.remote.includes(':') ? `[${path.remote}]:${path.port}` : `${path.remote}:${path.port}`
}
