// What one capture may be, and how it is named on the way to its reader.

/** Seconds and packets that a capture has unless told otherwise, and at most. */
export const CAPTURE_SECONDS = { default: 60, most: 3600 } as const
export const CAPTURE_PACKETS = { default: 100_000, most: 10_000_000 } as const
/** Longest file, bytes. */
export const CAPTURE_BYTES = 2 ** 30
/** Longest packet. */
export const MOST_SNAP = 65_535
/** Addresses, and prefixes, that one capture may name. */
export const MOST_HOSTS = 4
/** Header of the answer with the number by which a capture is ended. */
export const CAPTURE_ID = 'overmesh-capture'
