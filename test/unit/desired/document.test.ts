// What is said of a document that is none: everything, with its line.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readDocument, writeDocument } from '../../../node/desired/document.ts'

const START = 'version: 1\nmesh: prod\n'

function problems(text: string): string[] {
  const { document, problems: found } = readDocument(text)
  assert.equal(document, undefined)
  return found.map(({ line, message }) => `${line} ${message}`)
}

test('every problem has its line', () => {
  const found = problems(
    `${START}colour: red
clients:
  web: { address: 10.77.0.4, tags: { a: 2, b: yes } }
  New: {}
  x:
    adress: 1.2.3.4
  y: [1]
routes:
  - cidr: 10.0.0.0/8
  - { cidr: 10.0.0.0/8, via: internet, metric: 70000 }
attachments:
  a: { remote: any, remoteSubnets: [192.168.1.0/24], secret: c2VjcmV0 }
`,
  )
  const expected = [
    /^3 colour is not known here$/,
    /^5 clients\.web\.tags\.a must be string; put it in quotes$/,
    /^6 "New" is no name; use/,
    /^8 clients\.x\.adress is not known here$/,
    /^9 clients\.y must be object$/,
    /^11 routes\[0\] lacks via$/,
    /^12 routes\[1\]\.metric must be <= 65535$/,
    /^14 attachments\.a\.secret is not known here$/,
  ]
  assert.equal(found.length, expected.length, found.join('\n'))
  for (const [index, words] of expected.entries()) assert.match(found[index], words)
})

test('what YAML has for programmers is refused', () => {
  assert.deepEqual(problems(`${START}clients:\n  a: &x {}\n  b: *x\n`), [
    '5 aliases (*) are not read here; write it out',
  ])
  assert.deepEqual(problems(`${START}clients:\n  a: {}\n  a: {}\n`), ['5 the same key twice'])
  assert.deepEqual(problems(`${START}routes:\n  - { via: internet, "via": internet, cidr: 0.0.0.0/0 }\n`), [
    '4 the same key twice',
  ])
  assert.match(problems(`${START}clients: !!js/function "x"\n`)[0], /^3 /)
  assert.match(problems(`${START}---\n${START}`)[0], /^\d /)
  assert.match(problems(`${START}? [a, b]\n: c\n`)[0], /^3 /)
  assert.match(problems(`${START}__proto__: { a: 1 }\n`)[0], /^3 __proto__ is not known here/)
  assert.match(problems(`${START}<<: { clients: {} }\n`)[0], /^3 <</)
  const bomb = Array.from(
    { length: 30 },
    (_, n) => `a${n}: &a${n} [${n > 0 ? `*a${n - 1},`.repeat(10) : 'x'}]`,
  )
  assert.match(problems(bomb.join('\n'))[0], /aliases/)
})

test('what is no document at all is said in one line', () => {
  assert.match(problems('').join(), /^0 it is empty/)
  assert.match(problems('# nothing\n').join(), /^0 it is empty/)
  assert.match(problems('text').join(), /^\d it must be object/)
  assert.match(problems('['.repeat(100_000)).join(), /^0 it is nested too deep/)
  assert.match(problems(`a: ${'['.repeat(5000)}${']'.repeat(5000)}`).join(), /^[01] /)
  assert.match(problems('a: b: c').join(), /^1 /)
  assert.match(problems('version: 2\nmesh: prod\n').join(), /^1 version must be equal to constant/)
})

test('of a large document each key costs the same', () => {
  const clients = Array.from({ length: 20_000 }, (_, n) => `  c${n}: {}\n`).join('')
  const start = process.cpuUsage()
  assert.deepEqual(problems(`${START}clients:\n${clients}  c7: {}\n`), ['20004 the same key twice'])
  const { user } = process.cpuUsage(start)
  assert.ok(user < 5_000_000, `${user} µs`)
})

test('a document is read as it was written', () => {
  const state = {
    version: 1 as const,
    mesh: 'prod',
    clients: {
      '0x1': { tags: { no: 'yes', n: '1.0', t: '2026-01-01', empty: '', line: 'a\nb: c' } },
      null: {},
    },
    routes: [{ cidr: '10.0.0.0/8', via: 'client:null', metric: 3 }],
  }
  const { document, lineOf } = readDocument(writeDocument(state))
  assert.deepEqual(document, state)
  assert.equal(lineOf(['clients', 'null']) > lineOf(['clients', '0x1', 'tags', 'line']), true)
  assert.equal(lineOf(['routes', '0', 'nothing']), lineOf(['routes', '0']))
  assert.equal(lineOf([]), 0)
})
