// One block of memory under its three views; native (sys/arena.ts) or JavaScript's own.

export interface Memory {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** 32-bit words in machine order. */
  readonly words: Int32Array
}

/** The views of a buffer whose length is a multiple of 4. */
export function wrapMemory(buffer: ArrayBuffer): Memory {
  return { bytes: new Uint8Array(buffer), view: new DataView(buffer), words: new Int32Array(buffer) }
}

/** Copies bytes without making a view object; for the few hundred bytes where that costs more than the copy. */
export function copyBytes(
  to: Uint8Array,
  at: number,
  from: Uint8Array,
  offset: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[at + i] = from[offset + i]
}
