// Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
import type { HistogramFigures } from './histogram.ts'

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

export type Labels = Readonly<Record<string, string>>
export type Sample = readonly [labels: Labels, value: number]

/** Metrics in the order in which they were added, each once. */
export class Exposition {
  readonly #lines: string[] = []
  readonly #names = new Set<string>()

  /** What goes up and down. A single number is a sample without labels; without samples the metric is left out. */
  gauge(name: string, help: string, samples: number | readonly Sample[]): void {
    this.#add(name, 'gauge', help, samples)
  }

  /** What only grows, from 0 at the start of the process; the name ends in `_total`. */
  counter(name: string, help: string, samples: number | readonly Sample[]): void {
    if (!name.endsWith('_total')) throw new TypeError(`${name}: the name of a counter ends in _total`)
    this.#add(name, 'counter', help, samples)
  }

  histogram(name: string, help: string, { bounds, counts, sum }: HistogramFigures): void {
    this.#head(name, 'histogram', help)
    let total = 0
    for (const [index, count] of counts.entries()) {
      total += count
      const le = index < bounds.length ? String(bounds[index]) : '+Inf'
      this.#lines.push(`${name}_bucket${formatLabels({ le })} ${total}`)
    }
    this.#lines.push(`${name}_sum ${formatValue(sum)}`, `${name}_count ${total}`)
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`
  }

  #add(name: string, type: string, help: string, samples: number | readonly Sample[]): void {
    const list: readonly Sample[] = typeof samples === 'number' ? [[{}, samples]] : samples
    if (list.length === 0) return
    this.#head(name, type, help)
    const seen = new Set<string>()
    for (const [labels, value] of list) {
      const text = formatLabels(labels)
      // Prometheus would refuse the whole page.
      if (seen.has(text)) continue
      seen.add(text)
      this.#lines.push(`${name}${text} ${formatValue(value)}`)
    }
  }

  #head(name: string, type: string, help: string): void {
    if (this.#names.has(name)) throw new TypeError(`${name} is there already`)
    this.#names.add(name)
    this.#lines.push(`# HELP ${name} ${escapeText(help)}`, `# TYPE ${name} ${type}`)
  }
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${escapeText(value).replaceAll('"', '\\"')}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function formatValue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  if (value === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(value)
}
