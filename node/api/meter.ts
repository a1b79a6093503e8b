// How often the API was asked for what, and how long that took.
import type { Exposition, Labels } from '../metrics/exposition.ts'
import { Histogram } from '../metrics/histogram.ts'

/** Routes times methods times statuses: more than there can be. */
const MAX_SERIES = 2000

export class ApiMeter {
  readonly #requests = new Map<string, [labels: Labels, count: number]>()
  readonly #seconds = new Histogram([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])

  /** @param route as it was declared, such as `/v1/clients/:name`: never what a client sent */
  answered(route: string, method: string, status: number, seconds: number): void {
    this.#seconds.observe(seconds)
    const key = `${method} ${status} ${route}`
    const entry = this.#requests.get(key)
    if (entry !== undefined) entry[1]++
    else if (this.#requests.size < MAX_SERIES)
      this.#requests.set(key, [{ route, method, code: String(status) }, 1])
  }

  addTo(out: Exposition): void {
    out.counter('overmesh_api_requests_total', 'Requests to the API that were answered.', [
      ...this.#requests.values(),
    ])
    out.histogram(
      'overmesh_api_request_duration_seconds',
      'How long requests to the API took; event feeds until they ended.',
      this.#seconds,
    )
  }
}
