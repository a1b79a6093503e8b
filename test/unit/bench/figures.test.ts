import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mainThread, readCollections } from '../../bench/heap.ts'
import { formatResults, median, type Results, type RoundFigures } from '../../bench/report.ts'

const collection = (isolate: string, before: number, after: number): string =>
  `[13335:${isolate}]       59 ms: Scavenge ${before} (6.0) -> ${after} (7.0) MB, pooled: 0 MB, 1.32 / 0.00 ms  (average mu = 1.000, current mu = 1.000) allocation failure; \n`

test('what was allocated is what came between the collections of one thread, other than the main one', () => {
  const trace = [
    collection('0x1000', 3, 2),
    collection('0x3017c000', 5.5, 4),
    'a line of the log\n',
    collection('0x7feb04001000', 9, 8),
    collection('0x3017c000', 5, 4.5),
    collection('0x1000', 30, 2),
    collection('0x3017c000', 6.5, 4),
    collection('0x7feb04001000', 10, 8),
  ].join('')
  const { allocatedBytesPerPacket, collections } = readCollections(trace, 1 << 20, mainThread(trace))
  assert.equal(allocatedBytesPerPacket, 1 + 2 + 2)
  assert.equal(collections, 3)
})

test('no collection means that nothing was allocated', () => {
  assert.deepEqual(readCollections('ready\n', 1000, undefined), {
    allocatedBytesPerPacket: 0,
    collections: 0,
  })
})

test('the median of an even and of an odd number of values', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 2, 3]), 2.5)
})

const figures = (cpuSecondsPerGigabyte: number): RoundFigures => ({
  throughput: { cpuSecondsPerGigabyte, megabitsPerSecond: 400 },
})
const results = (...overmesh: number[]): Results => ({
  startedAt: '2026-01-01T00:00:00.000Z',
  machine: { cpu: 'CPU', cores: 2, kernel: '6', node: '24', openvpn: 'OpenVPN 2.6', loadBefore: 0 },
  rounds: overmesh.map(value => ({ openvpn: figures(10), overmesh: figures(value) })),
})

test('a target counts as reached by the median alone, and not otherwise', () => {
  assert.match(formatResults(results(3.9, 9, 3.8)), /CPU per gigabyte.* 0\.39 +≤ 0\.4 × reached/)
  assert.match(formatResults(results(3.9, 9, 9)), /CPU per gigabyte.* 0\.90 +≤ 0\.4 × MISSED/)
  assert.doesNotMatch(formatResults(results(3)), /latency|handshakes/)
})

test('what is added to strongSwan is what stands in front of it, by both ends of the tunnel alone', () => {
  const costs = (front: number) => {
    const way = { megabitsPerSecond: 300, here: 14, atSite: 16, front }
    return { toSite: way, fromSite: { ...way, here: 18, atSite: 12 } }
  }
  const told = (front: number) =>
    formatResults({
      ...results(),
      attachments: [{ strongswan: costs(0), openvpn: costs(12), overmesh: costs(front) }],
    })
  assert.match(told(6), /added to strongSwan alone, both ends +- +0\.40 +0\.20 {2}\(≤ 0\.25 reached\)/)
  assert.match(told(9), /0\.30 {2}\(≤ 0\.25 MISSED\)/)
  assert.doesNotMatch(told(6), /to reach/)
})
