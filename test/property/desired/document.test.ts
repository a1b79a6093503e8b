// Documents of any content survive being written and read; damaged ones never throw.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readDocument, writeDocument } from '../../../node/desired/document.ts'

const name = fc.oneof(
  fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,12}$/),
  fc.constantFrom('null', 'true', 'no', '1e3', '0x10', '1.5', 'constructor', '0'),
)
const value = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.constantFrom('yes', '~', ' ', '\n', '# a', '- b', '&c', '*d'),
)
const client = fc.record(
  {
    address: fc.ipV4(),
    subnets: fc.array(fc.constantFrom('10.0.0.0/8', '2001:db8::/48'), { maxLength: 3 }),
    tags: fc.dictionary(fc.stringMatching(/^[A-Za-z0-9._-]{1,10}$/), value, { maxKeys: 4 }),
    enabled: fc.boolean(),
    prefer: fc.array(name, { maxLength: 2 }),
  },
  { requiredKeys: [] },
)
const document = fc.record(
  {
    version: fc.constant(1 as const),
    mesh: name,
    routeUpdates: fc.oneof(fc.nat(86_400), fc.constant('later' as const)),
    clients: fc.dictionary(name, client, { maxKeys: 5 }),
    routes: fc.array(
      fc.record({
        cidr: fc.constant('10.0.0.0/8'),
        via: fc.constantFrom('internet', 'client:x'),
        metric: fc.nat(65_535),
      }),
    ),
  },
  { requiredKeys: ['version', 'mesh'] },
)
/** Whatever prototypes the generators gave their objects. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
/** Halves of surrogate pairs are no text that a file can hold. */
const isText = (value: unknown): boolean =>
  JSON.stringify(value).isWellFormed() && !/\\ud[89a-f]/i.test(JSON.stringify(value))

test('what was written is read', () => {
  fc.assert(
    fc.property(document.filter(isText), state => {
      const { document: read, problems } = readDocument(writeDocument(state as never))
      assert.deepEqual(problems, [])
      assert.deepEqual(plain(read), plain(state))
    }),
    { numRuns: 300 },
  )
})

test('whatever the text is, it is read or said to be wrong', () => {
  const damaged = fc
    .tuple(document.filter(isText), fc.nat(), fc.nat(20), fc.string({ maxLength: 10 }))
    .map(([state, at, length, more]) => {
      const text = writeDocument(state as never)
      const start = at % text.length
      return text.slice(0, start) + more + text.slice(start + length)
    })
  fc.assert(
    fc.property(fc.oneof(damaged, fc.string({ maxLength: 200 })), text => {
      const { document: read, problems } = readDocument(text)
      assert.equal(read === undefined, problems.length > 0)
      for (const { message, line } of problems)
        assert.ok(message.length > 0 && line >= 0 && !message.includes('\n'))
    }),
    { numRuns: 500 },
  )
})
