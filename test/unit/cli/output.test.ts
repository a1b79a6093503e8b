import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { dataDirectory } from '../../../node/cli/context.ts'
import { Output } from '../../../node/cli/output.ts'

class Sink {
  text = ''
  readonly isTTY: boolean
  constructor(isTTY: boolean) {
    this.isTTY = isTTY
  }
  write(text: string): boolean {
    this.text += text
    return true
  }
}

const saved = { ...process.env }
beforeEach(() => {
  delete process.env.NO_COLOR
  process.env.TERM = 'xterm'
})
afterEach(() => {
  process.env = { ...saved }
})

function output(json: boolean, terminal: boolean) {
  const out = new Sink(terminal)
  const err = new Sink(terminal)
  return { out, err, output: new Output(json, out as never, err as never) }
}

const COLUMNS = [
  { title: 'NAME', value: (row: string[]) => row[0], style: () => 'green' as const },
  { title: 'COUNT', value: (row: string[]) => row[1], align: 'right' as const },
]

test('a table is aligned whether or not it is coloured', () => {
  const plain = output(false, false)
  plain.output.table(
    COLUMNS,
    [
      ['a', '5'],
      ['long-name', '1000000'],
    ],
    'none',
  )
  assert.equal(plain.out.text, 'NAME         COUNT\na                5\nlong-name  1000000\n')
  const coloured = output(false, true)
  coloured.output.table(
    COLUMNS,
    [
      ['a', '5'],
      ['long-name', '1000000'],
    ],
    'none',
  )
  assert.match(coloured.out.text, /\u001b\[32ma\u001b\[39m/)
  assert.equal(coloured.out.text.replace(/\u001b\[\d+m/g, ''), plain.out.text)
})

test('no colours with NO_COLOR, on a dumb terminal and in a pipe', () => {
  assert.equal(output(false, true).output.paint('red', 'x'), '\u001b[31mx\u001b[39m')
  assert.equal(output(false, false).output.paint('red', 'x'), 'x')
  process.env.NO_COLOR = '1'
  assert.equal(output(false, true).output.paint('red', 'x'), 'x')
  delete process.env.NO_COLOR
  process.env.TERM = 'dumb'
  assert.equal(output(false, true).output.paint('red', 'x'), 'x')
})

test('an empty table says so beside the answer, not in it', () => {
  const { out, err, output: it } = output(false, false)
  it.table(COLUMNS, [], 'no rows yet')
  assert.equal(out.text, '')
  assert.equal(err.text, 'no rows yet\n')
})

test('with --json there are no notes', () => {
  const { out, err, output: it } = output(true, false)
  it.note('by the way')
  it.result({ a: 1 }, () => assert.fail('text with --json'))
  assert.deepEqual(JSON.parse(out.text), { a: 1 })
  assert.equal(err.text, '')
})

test('the data directory: option, environment, and a default for root and for others', () => {
  const env = { OVERMESH_DATA: '/env/dir' }
  assert.equal(dataDirectory('/opt/dir', env, 0), '/opt/dir')
  assert.equal(dataDirectory(undefined, env, 0), '/env/dir')
  assert.equal(dataDirectory(undefined, {}, 0), '/var/lib/overmesh')
  assert.match(dataDirectory(undefined, {}, 1000), /\/\.overmesh$/)
  assert.equal(dataDirectory('relative', {}, 0), `${process.cwd()}/relative`)
  assert.throws(() => dataDirectory('', env, 0), { name: 'UsageError' })
})
