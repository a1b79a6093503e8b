// How often something took how long, counted in buckets.

export interface HistogramFigures {
  /** Upper bounds of the buckets, rising; one more bucket takes what is above them all. */
  readonly bounds: readonly number[]
  /** How many fell into each bucket. */
  readonly counts: readonly number[]
  readonly sum: number
}

export class Histogram implements HistogramFigures {
  readonly bounds: readonly number[]
  readonly counts: number[]
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = Array(bounds.length + 1).fill(0)
  }

  observe(value: number): void {
    let bucket = 0
    while (bucket < this.bounds.length && value > this.bounds[bucket]) bucket++
    this.counts[bucket]++
    this.sum += value
  }
}
