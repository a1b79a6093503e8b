// The dashboard and the alerts name only what controllers really tell, and the manual tells of both.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { EVENT_TYPES } from '../../../node/events.ts'
import { everyMetric } from './everything.ts'
import { type Names, readNames } from './promql.ts'

const TOP = join(import.meta.dirname, '../../..')
const read = (file: string): string => readFileSync(join(TOP, file), 'utf8')

interface Panel {
  id: number
  type: string
  title: string
  datasource?: { type: string; uid: string }
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: { refId: string; expr: string; legendFormat?: string }[]
  fieldConfig?: { defaults: { unit?: string } }
}
interface Rule {
  alert?: string
  record?: string
  expr: string
  for?: string
  labels?: { severity: string }
  annotations?: Record<string, string>
}

const dashboard = JSON.parse(read('deploy/grafana/overmesh.json'))
const panels: Panel[] = dashboard.panels
const queries = panels.flatMap(panel => (panel.targets ?? []).map(target => ({ panel, ...target })))
const variables: { name: string; type: string; definition?: string }[] = dashboard.templating.list
const rules: Rule[] = parse(read('deploy/prometheus/alerts.yaml')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
)
const alerts = rules.filter(({ alert }) => alert !== undefined)

/** What Prometheus itself gives each series. */
const OF_TARGET = ['job', 'instance']
/** Labels that have values only once there was an occasion. */
const OCCASIONAL = ['code', 'route', ...OF_TARGET]

test('dashboard, alerts and manual name what controllers tell', async t => {
  const metrics = await everyMetric(t)
  /** By the names of their samples: a histogram has three. */
  const samples = new Map<string, { type: string; labels: Map<string, Set<string>> }>()

  for (const { type, samples: all } of metrics) {
    for (const { name, labels } of all) {
      const known = samples.get(name) ?? { type, labels: new Map<string, Set<string>>() }
      for (const [label, value] of Object.entries(labels))
        known.labels.set(label, (known.labels.get(label) ?? new Set()).add(value))
      samples.set(name, known)
    }
  }
  samples.set('up', { type: 'gauge', labels: new Map() })
  for (const { record } of rules)
    if (record) samples.set(record, { type: 'gauge', labels: new Map([['mesh', new Set<string>()]]) })

  /** What is wrong with the names in an expression. */
  function faultsOf({ selectors, labels }: Names): string[] {
    const faults: string[] = []
    const some = new Set(OF_TARGET)
    for (const { metric, matchers } of selectors) {
      const known = samples.get(metric)
      if (known === undefined) faults.push(`${metric} is told by no controller`)
      for (const label of known?.labels.keys() ?? []) some.add(label)
      for (const { label, operator, value } of matchers) {
        const values = known?.labels.get(label)
        if (values === undefined && !OF_TARGET.includes(label)) faults.push(`${metric} has no ${label}`)
        if (OCCASIONAL.includes(label) || value.startsWith('$')) continue
        for (const word of operator.includes('~') ? value.split('|') : [value])
          if (!values?.has(word)) faults.push(`${metric} has no ${label} ${word}`)
      }
    }
    for (const label of labels) if (!some.has(label)) faults.push(`nothing here has ${label}`)
    return faults
  }

  /** Labels in the words beside an expression. */
  function labelFaults(words: string, pattern: RegExp, { selectors, labels }: Names): string[] {
    const some = [...labels, ...OF_TARGET, ...selectors.flatMap(({ metric }) => labelsOf(metric))]
    return [...words.matchAll(pattern)].flatMap(([, label]) =>
      some.includes(label) ? [] : [`${label} in "${words}"`],
    )
  }
  const labelsOf = (metric: string): string[] => [...(samples.get(metric)?.labels.keys() ?? [])]

  await t.test('the dashboard names nothing else', () => {
    const faults = queries.flatMap(({ panel, expr, legendFormat = '' }) => {
      const names = readNames(expr)
      return [...faultsOf(names), ...labelFaults(legendFormat, /\{\{(\w+)\}\}/g, names)].map(
        fault => `${panel.title}: ${fault}`,
      )
    })
    for (const { expr } of dashboard.annotations.list) faults.push(...faultsOf(readNames(expr)))
    for (const { definition } of variables) {
      const [, expr, label] = /^label_values\((.+), (\w+)\)$/.exec(definition ?? '') ?? []
      if (expr)
        faults.push(...faultsOf(readNames(expr)), ...labelFaults(`{${label}}`, /(\w+)/g, readNames(expr)))
    }
    assert.deepEqual(faults, [])
  })

  await t.test('the alerts name nothing else', () => {
    const faults = rules.flatMap(({ alert, record, expr, annotations = {} }) => {
      const names = readNames(expr)
      const words = Object.values(annotations).join(' ')
      return [...faultsOf(names), ...labelFaults(words, /\$labels\.(\w+)/g, names)].map(
        fault => `${alert ?? record}: ${fault}`,
      )
    })
    assert.deepEqual(faults, [])
  })

  await t.test('counters are looked at by how they grow, and nothing else is', () => {
    const growth = ['rate', 'increase']
    const faults = [...queries, ...rules].flatMap(({ expr }) =>
      readNames(expr).selectors.flatMap(({ metric, within }) => {
        const grows = ['counter', 'histogram'].includes(samples.get(metric)!.type)
        // Damage is found at the start, before anybody looks.
        const isAsIs = metric === 'overmesh_events_total' && /state-damage/.test(expr)
        return grows === within.some(name => growth.includes(name)) || isAsIs ? [] : [expr]
      }),
    )
    assert.deepEqual(faults, [])
  })

  await t.test('units are those of what is shown', () => {
    const unitsOf = (name: string): string[] => {
      if (/_bytes_total$/.test(name)) return ['bps']
      if (/_packets_total$/.test(name)) return ['pps', 'cps']
      if (/process_cpu_seconds_total$|_fds$/.test(name)) return ['none', 'percentunit']
      if (/_seconds(_bucket)?$/.test(name)) return ['s']
      if (/_ratio$/.test(name)) return ['percentunit']
      if (/_bytes$/.test(name)) return ['bytes']
      return /_total$/.test(name) ? ['cps', 'reqps', 'pps', 'none'] : ['none']
    }
    for (const { panel, expr } of queries) {
      const unit = panel.fieldConfig?.defaults.unit
      if (unit === undefined) continue
      for (const { metric } of readNames(expr).selectors)
        if (metric !== 'overmesh_info') assert.ok(unitsOf(metric).includes(unit), `${panel.title}: ${metric}`)
      assert.equal(unit === 'bps', /\b8 \* /.test(expr), `${panel.title}: bytes to bits`)
    }
  })

  await t.test('the manual has each metric that it names, and each type of event', () => {
    const page = read('docs/observability.md')
    const missing = [...page.matchAll(/\b(overmesh_\w+?)(_?\*|\b)/g)].flatMap(([, name, star]) => {
      const names = [...samples.keys()]
      const isThere = star.includes('*') ? names.some(each => each.startsWith(name)) : names.includes(name)
      return isThere || metrics.some(each => each.name === name) ? [] : [name]
    })
    assert.deepEqual(missing, [])
    const table = page.slice(page.indexOf('| type | '))
    const told = [...table.slice(0, table.indexOf('\n\n')).matchAll(/^\|([^|]+)\|/gm)].flatMap(([, cell]) =>
      [...cell.matchAll(/`([a-z-]+)`/g)].map(([, type]) => type),
    )
    assert.deepEqual(told.sort(), [...EVENT_TYPES].sort())
  })
})

test('the dashboard is one that Grafana imports', () => {
  assert.equal(dashboard.id, null)
  assert.ok(dashboard.schemaVersion >= 36 && dashboard.uid && dashboard.title)
  assert.deepEqual(
    variables.map(({ name }) => name),
    ['datasource', 'mesh', 'instance'],
  )
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  const rows = panels.filter(({ type }) => type === 'row').map(({ title }) => title)
  assert.deepEqual(rows, [
    ...['Mesh', 'Sessions', 'Links', 'Switch', 'IPsec', 'Records', 'API, webhooks, DNS', 'Process'],
  ])
  for (const { type, title, datasource, gridPos, targets = [] } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title)
    if (type === 'row') continue
    assert.deepEqual(datasource, { type: 'prometheus', uid: `\${datasource}` }, title)
    assert.ok(targets.length > 0, title)
    for (const { expr } of targets) assert.match(expr, /instance=~"\$instance"/, title)
  }
  const taken = new Set<string>()
  for (const { title, gridPos } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(!taken.has(`${x} ${y}`), `${title} lies on another`)
        taken.add(`${x} ${y}`)
      }
    }
  }
})

test('each alert says how bad it is, what it means, and where the manual goes on', () => {
  assert.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length)
  for (const { alert = '', for: time = '1m', labels, annotations = {} } of alerts) {
    assert.match(alert, /^Overmesh[A-Z][A-Za-z]+$/)
    assert.match(time, /^\d+[smhd]$/)
    assert.match(labels?.severity ?? '', /^(critical|warning|info)$/, alert)
    assert.deepEqual(Object.keys(annotations), ['summary', 'description', 'runbook'], alert)
    const [, page, section] = /^(docs\/[\w-]+\.md)#([\w-]+)$/.exec(annotations.runbook) ?? []
    assert.ok(page, `${alert}: ${annotations.runbook}`)
    assert.ok(sectionsOf(read(page)).includes(section), `${alert}: ${annotations.runbook}`)
  }
})

test('the example scrapes the job that the alerts name', () => {
  const { scrape_configs, rule_files } = parse(read('deploy/prometheus/scrape.yaml'))
  assert.deepEqual(
    scrape_configs.map((job: { job_name: string }) => job.job_name),
    ['overmesh'],
  )
  assert.deepEqual(rule_files, ['alerts.yaml'])
})

test('an expression that is wrong is found', () => {
  assert.deepEqual(readNames('sum by (a, b) (rate(x_total{c=~"d"}[5m])) > 0'), {
    selectors: [
      { metric: 'x_total', matchers: [{ label: 'c', operator: '=~', value: 'd' }], within: ['rate'] },
    ],
    labels: ['a', 'b'],
  })
  for (const wrong of ['rat(x[5m])', 'rate(x[5])', 'sum(x', 'sum)', 'x{a}', 'sum x', 'x{a="b}', 'x @ 5'])
    assert.throws(() => readNames(wrong), Error, wrong)
})

/** Anchors of headings, as Markdown's readers make them. */
function sectionsOf(page: string): string[] {
  return [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  )
}
