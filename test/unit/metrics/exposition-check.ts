// Reads a page of metrics as the description of the text format has it (prometheus.io/docs/instrumenting/exposition_formats,
// version 0.0.4), and finds what breaks that, or the conventions for names (prometheus.io/docs/practices/naming).

export interface ReadMetric {
  name: string
  type: string
  help: string
  samples: { name: string; labels: Record<string, string>; value: number }[]
}

const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y
const NUMBER = /^(NaN|[+-]?Inf|[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?)$/
const SUFFIXES: Record<string, string[]> = { histogram: ['_bucket', '_sum', '_count'] }
/** Units that are not the base ones, as `promtool check metrics` has them. */
const ODD_UNITS =
  /_(milliseconds|ms|microseconds|nanoseconds|minutes|hours|days|kilobytes|megabytes|bits|percent|millis)(_|$)/

/** @throws Error that says in which line, and what */
export function readExposition(text: string): ReadMetric[] {
  const metrics: ReadMetric[] = []
  const names = new Set<string>()
  let help: { name: string; text: string } | undefined
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  for (const [index, line] of text.slice(0, -1).split('\n').entries()) {
    const fail = (what: string): never => {
      throw new Error(`line ${index + 1}, ${JSON.stringify(line.slice(0, 120))}: ${what}`)
    }
    if (line === '') continue
    if (line.startsWith('# HELP ')) {
      const [, name = '', words = ''] = /^# HELP ([^ ]+) (.+)$/.exec(line) ?? fail('no help text')
      if (!/^(?:[^\\]|\\[\\n])*$/.test(words)) fail('an escape that is none')
      help = { name, text: words }
    } else if (line.startsWith('# TYPE ')) {
      const [, name = '', type = ''] =
        /^# TYPE ([^ ]+) (counter|gauge|histogram|summary|untyped)$/.exec(line) ?? fail('no type')
      if (!METRIC_NAME.test(name)) fail('no name of a metric')
      if (names.has(name)) fail('the metric is there already')
      if (help?.name !== name) fail('the help text is not before it')
      names.add(name)
      metrics.push({ name, type, help: help!.text, samples: [] })
    } else if (!line.startsWith('#')) {
      const metric = metrics.at(-1) ?? fail('no metric before it')
      metric!.samples.push(readSample(line, fail))
      const { name } = metric!.samples.at(-1)!
      const isOwn = (SUFFIXES[metric!.type] ?? ['']).some(suffix => name === metric!.name + suffix)
      if (!isOwn) fail(`a sample of ${metric!.name} has another name`)
    }
  }
  return metrics
}

function readSample(line: string, fail: (what: string) => never): ReadMetric['samples'][number] {
  const [, name, braces, value] = /^([^{ ]+)(?:\{(.*)\})? ([^ ]+)$/.exec(line) ?? fail('no sample')
  if (!METRIC_NAME.test(name)) fail('no name of a metric')
  if (!NUMBER.test(value)) fail('no number')
  const labels: Record<string, string> = {}
  LABEL.lastIndex = 0
  while (braces && LABEL.lastIndex < braces.length) {
    const [, key, text] = LABEL.exec(braces) ?? fail('labels that are none')
    if (key in labels) fail(`the label ${key} is there twice`)
    labels[key] = text.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped))
  }
  return { name, labels, value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value) }
}

/** What is against the conventions, in words. */
export function lint(metrics: readonly ReadMetric[]): string[] {
  return metrics.flatMap(metric => {
    const { name, type, help, samples } = metric
    const faults: string[] = []
    if (!/[.]$/.test(help)) faults.push('its help text is no sentence')
    if ((type === 'counter') !== name.endsWith('_total')) faults.push('counters alone end in _total')
    if (type !== 'histogram' && /_(count|sum|bucket)$/.test(name)) faults.push('it ends as a histogram does')
    if (name !== name.toLowerCase()) faults.push('its name has capitals')
    if (ODD_UNITS.test(name)) faults.push('its unit is no base unit')
    if (samples.length === 0) faults.push('it has no sample')
    const seen = new Set<string>()
    for (const { name: own, labels, value } of samples) {
      const key = own + JSON.stringify(Object.entries(labels).sort())
      if (seen.has(key)) faults.push(`${key} is there twice`)
      seen.add(key)
      if (Number.isNaN(value)) faults.push(`${key} is no number`)
      if (type === 'counter' && value < 0) faults.push(`${key} is below 0`)
    }
    if (type === 'histogram') faults.push(...lintHistogram(metric))
    return faults.map(fault => `${name}: ${fault}`)
  })
}

function lintHistogram({ name, samples }: ReadMetric): string[] {
  const buckets = samples.filter(each => each.name === `${name}_bucket`)
  const bounds = buckets.map(({ labels }) =>
    labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le),
  )
  const rises = (all: number[], orEqual: boolean) =>
    all.every((value, i) => i === 0 || value > all[i - 1] || (orEqual && value === all[i - 1]))
  const total = samples.find(each => each.name === `${name}_count`)?.value
  const faults: string[] = []
  if (!rises(bounds, false) || bounds.at(-1) !== Number.POSITIVE_INFINITY)
    faults.push('its bounds do not rise to +Inf')
  if (
    !rises(
      buckets.map(({ value }) => value),
      true,
    )
  )
    faults.push('its buckets do not add up')
  if (buckets.at(-1)?.value !== total) faults.push('its last bucket is not all')
  if (!samples.some(each => each.name === `${name}_sum`)) faults.push('it has no sum')
  return faults
}
