// Figures before they are put together.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { IkeSa } from '../../../node/ipsec/engine.ts'
import { Exposition } from '../../../node/metrics/exposition.ts'
import { healthOf } from '../../../node/metrics/health.ts'
import { Histogram } from '../../../node/metrics/histogram.ts'
import { addIpsecMetrics, IpsecTraffic } from '../../../node/metrics/ipsec-metrics.ts'
import { ReplicaLag } from '../../../node/metrics/lag.ts'
import { Pulse } from '../../../node/metrics/pulse.ts'
import { lint, readExposition } from './exposition-check.ts'

test('the check finds what breaks the format, so that the others mean something', () => {
  const head = '# HELP a_total It is.\n# TYPE a_total counter\n'
  for (const [text, fault] of [
    [`${head}a_total 1`, /does not end/],
    [`${head}a_total{x="1"y="2"} 1\n`, /labels/],
    [`${head}a_total{x="a"b"} 1\n`, /labels/],
    [`${head}a_total{1x="a"} 1\n`, /labels/],
    [`${head}a_total one\n`, /no number/],
    [`${head}b_total 1\n`, /another name/],
    [`${head}a_total 1\n${head}`, /there already/],
    ['a_total 1\n', /no metric before/],
    ['# TYPE a_total counter\na_total 1\n', /help text/],
  ] as const)
    assert.throws(() => readExposition(text), fault, text)
  const faults = (text: string) => lint(readExposition(text)).join('; ')
  assert.equal(faults(`${head}a_total 1\n`), '')
  assert.match(faults(`${head}a_total 1\na_total 2\n`), /twice/)
  assert.match(faults('# HELP a_total It is.\n# TYPE a_total gauge\na_total 1\n'), /_total/)
  assert.match(faults('# HELP a_ms It is.\n# TYPE a_ms gauge\na_ms 1\n'), /base unit/)
  assert.match(faults('# HELP a Is\n# TYPE a gauge\na 1\n'), /sentence/)
  const histogram = (buckets: string) => `# HELP h It is.\n# TYPE h histogram\n${buckets}h_sum 1\nh_count 2\n`
  assert.equal(faults(histogram('h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n')), '')
  assert.match(faults(histogram('h_bucket{le="1"} 3\nh_bucket{le="+Inf"} 2\n')), /add up/)
  assert.match(faults(histogram('h_bucket{le="1"} 1\n')), /rise to \+Inf/)
})

test('labels may hold anything, and come back as they were', () => {
  const out = new Exposition()
  const odd = ['plain', 'a "quoted" word', 'back\\slash', 'two\nlines', '', 'é\u{1f600}', '\\"\\n']
  out.gauge(
    'odd',
    'Help with a \\ and\nanother line.',
    odd.map(name => [{ name }, 1]),
  )
  const [metric] = readExposition(out.text())
  assert.deepEqual(
    metric.samples.map(({ labels }) => labels.name),
    odd,
  )
  assert.deepEqual(lint([metric]), [])
})

test('what is told twice is on the page once, and a metric without samples is not there', () => {
  const out = new Exposition()
  out.gauge('same', 'It is.', [
    [{ peer: 'a' }, 1],
    [{ peer: 'a' }, 2],
  ])
  out.gauge('none', 'It is.', [])
  assert.equal(out.text(), '# HELP same It is.\n# TYPE same gauge\nsame{peer="a"} 1\n')
  assert.throws(() => out.gauge('same', 'Again.', 1), /already/)
  assert.throws(() => out.counter('count', 'It is.', 1), /_total/)
})

test('a histogram counts up to its bounds and beyond', () => {
  const histogram = new Histogram([1, 2])
  for (const value of [0, 1, 1.5, 2, 3, 100]) histogram.observe(value)
  const out = new Exposition()
  out.histogram('h', 'It is.', histogram)
  const [{ samples }] = readExposition(out.text())
  assert.deepEqual(
    samples.map(({ value }) => value),
    [2, 4, 6, 107.5, 6],
  )
  assert.deepEqual(lint(readExposition(out.text())), [])
})

test('a switch that does not turn is noticed, one that turns slowly or is not there is not', () => {
  let turns: number | undefined
  const pulse = new Pulse({ turns: () => turns, now: () => 0 })
  for (let i = 0; i < 50; i++) pulse.look()
  assert.equal(pulse.isTurning, true)
  turns = 7
  for (let i = 0; i < 10; i++) {
    assert.equal(pulse.isTurning, true)
    pulse.look()
  }
  pulse.look()
  assert.equal(pulse.isTurning, false)
  turns++
  pulse.look()
  assert.equal(pulse.isTurning, true)
})

test('health: a hanging switch is neither alive nor ready, an obstacle is alive', () => {
  assert.deepEqual(healthOf({ isTurning: true, obstacles: [] }), { alive: true, ready: true, problems: [] })
  assert.deepEqual(healthOf({ isTurning: true, obstacles: ['it is drained'] }), {
    alive: true,
    ready: false,
    problems: ['it is drained'],
  })
  const dead = healthOf({ isTurning: false, obstacles: [] })
  assert.deepEqual([dead.alive, dead.ready, dead.problems.length], [false, false, 1])
})

test('lag is the time since a peer had everything, and ends when it has', () => {
  const lag = new ReplicaLag()
  lag.look([{ id: 'a', behind: 0 }], 1000)
  lag.look([{ id: 'a', behind: 3 }], 2000)
  assert.equal(lag.seconds('a', 3, 5500), 4.5)
  lag.look([{ id: 'a', behind: 1 }], 6000)
  assert.equal(lag.seconds('a', 1, 6000), 5)
  assert.equal(lag.seconds('a', 0, 6000), 0)
  lag.look([{ id: 'a', behind: 0 }], 7000)
  lag.look([{ id: 'a', behind: 1 }], 8000)
  assert.equal(lag.seconds('a', 1, 8000), 1)
  // Gone, and back later: what was before is forgotten.
  lag.look([], 9000)
  lag.look([{ id: 'a', behind: 1 }], 10_000)
  assert.equal(lag.seconds('a', 1, 11_000), 1)
  assert.equal(lag.seconds('nobody', 1, 11_000), 0)
})

const sa = (tunnel: string, ...children: [spi: string, bytes: number][]): IkeSa =>
  ({
    tunnel,
    children: children.map(([spiIn, bytes]) => ({
      spiIn,
      spiOut: `o${spiIn}`,
      bytesIn: bytes,
      bytesOut: bytes * 2,
      packetsIn: 1,
      packetsOut: 2,
    })),
  }) as unknown as IkeSa

test('what passed through SAs only grows, while their keys come and go', () => {
  const traffic = new IpsecTraffic()
  traffic.look([sa('x', ['1', 100])])
  traffic.look([sa('x', ['1', 150])])
  assert.equal(traffic.of('x')?.bytesIn, 150)
  // Rekeyed: both for a moment, then the new one alone.
  traffic.look([sa('x', ['1', 160], ['2', 10])])
  traffic.look([sa('x', ['2', 30])])
  assert.equal(traffic.of('x')?.bytesIn, 190)
  assert.equal(traffic.of('x')?.bytesOut, 380)
  traffic.look([])
  assert.equal(traffic.of('x')?.bytesIn, 190)
  traffic.look([sa('x', ['3', 5])])
  assert.equal(traffic.of('x')?.bytesIn, 195)
  traffic.keep(new Set())
  assert.equal(traffic.of('x'), undefined)
})

test('attachments: up anywhere, carried here, and their SAs', () => {
  const out = new Exposition()
  const traffic = new IpsecTraffic()
  const sas = [sa('x', ['1', 100], ['2', 1]), sa('x')]
  traffic.look(sas)
  const attachments = [
    { id: 'x', name: 'paris', up: true, here: true },
    { id: 'y', name: 'berlin', up: true, here: false },
  ]
  addIpsecMetrics(out, { running: true, attachments, sas, traffic })
  const metrics = readExposition(out.text())
  assert.deepEqual(lint(metrics), [])
  const values = (name: string) =>
    metrics.find(each => each.name === name)?.samples.map(({ labels, value }) => [labels.attachment, value])
  assert.deepEqual(values('overmesh_attachment_up'), [
    ['paris', 1],
    ['berlin', 1],
  ])
  assert.deepEqual(values('overmesh_attachment_carried'), [
    ['paris', 1],
    ['berlin', 0],
  ])
  assert.deepEqual(values('overmesh_attachment_ike_sas')?.[0], ['paris', 2])
  assert.deepEqual(values('overmesh_attachment_child_sas')?.[0], ['paris', 2])
  assert.deepEqual(values('overmesh_attachment_receive_bytes_total'), [['paris', 101]])
})
