// Whatever an operator writes after --seal-allow: what is taken stands in the ruleset as one rule and as nothing else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseException } from '../../../node/seal/exceptions.ts'
import { sealRuleset } from '../../../node/seal/ruleset.ts'

const EMPTY = sealRuleset({ controllers: [], allow: [] }).split('\n')
const RULE =
  /^ {4}(?:(?:iifname|oifname) \$tunnel )?(?:ip6? [sd]addr [0-9a-f.:]+\/\d+ )?(?:(?:tcp|udp) [sd]port \d+(?:-\d+)? (?:ct direction reply )?|icmp(?:v6)? type \{ echo-request, echo-reply \} )?accept$/

const pieces = fc.constantFrom(
  'tcp/',
  'udp/',
  'out:',
  'icmp',
  '22',
  '-',
  '@',
  '10.0.0.0/8',
  'fd00::/8',
  '1.2.3.4',
  ' ',
  ';',
  '}',
  '\n',
  'accept',
)
const texts = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.array(pieces, { maxLength: 6 }).map(list => list.join('')),
  fc.tuple(fc.nat({ max: 70_000 }), fc.ipV4()).map(([port, address]) => `tcp/${port}@${address}`),
  fc.tuple(fc.ipV6(), fc.nat({ max: 130 })).map(([address, length]) => `${address}/${length}`),
)

test('an exception adds rules of its own form, and no other text', () => {
  fc.assert(
    fc.property(texts, text => {
      const exception = parseException(text)
      if (exception === undefined) return
      const lines = sealRuleset({ controllers: [], allow: [exception] }).split('\n')
      const added = lines.filter(line => !EMPTY.includes(line))
      assert.ok(added.length >= 2 && added.length <= 4, text)
      for (const line of added) assert.match(line, RULE)
      assert.equal(lines.length, EMPTY.length + added.length)
    }),
    { numRuns: 3000 },
  )
})
