// How devices are sent away.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NamedSa } from '../../../node/ipsec/strongswan/carrying.ts'
import { Parting } from '../../../node/ipsec/strongswan/parting.ts'

const REMOVED = 'add table inet overmesh_parting\ndelete table inet overmesh_parting\n'

const sa = (tunnel: string, uniqueid: string, host: string, version = '2'): NamedSa => [
  tunnel,
  { uniqueid, version, 'remote-host': host },
]

function bench(sas: readonly NamedSa[]) {
  const said: string[] = []
  const parting = new Parting(
    {
      run: async (_program, _args, input = '') => {
        const devices = /elements = \{ (.*?) \}/g
        const rules = [...input.matchAll(devices)].map(([, elements]) => elements).join(' and ')
        said.push(input === REMOVED ? 'open' : `deaf to ${rules}`)
        return { code: 0, stdout: '', stderr: '', missing: false }
      },
    },
    20,
  )
  const run = {
    list: async () => [...sas],
    endSa: async (id: string, isForced: boolean) => void said.push(`${isForced ? 'forget' : 'end'} ${id}`),
  }
  const end = (tunnel: string) =>
    parting.end(run, tunnel, found => said.push(`told ${found.map(([connection]) => connection)}`))
  return { said, end }
}

test('a device is told that its associations end; they are kept for what is under way, and forgotten then', async () => {
  const { said, end } = bench([
    sa('a', '1', '192.0.2.7'),
    sa('a.back', '2', '2001:db8::7'),
    sa('b', '3', '192.0.2.8'),
  ])
  await end('a')
  assert.deepEqual(said, [
    'deaf to 192.0.2.7 timeout 5s and 2001:db8::7 timeout 5s',
    ...['end 1', 'end 2', 'told a,a.back', 'forget 1', 'forget 2', 'open'],
  ])
})

test('of two that part at a time, who is not done yet stays unheard', async () => {
  const { said, end } = bench([sa('a', '1', '192.0.2.7'), sa('b', '2', '192.0.2.7')])
  await Promise.all([end('a'), end('b')])
  const rules = said.filter(each => !/^(end|told|forget)/.test(each))
  assert.deepEqual(rules, [...Array(3).fill('deaf to 192.0.2.7 timeout 5s'), 'open'])
})

test('of IKEv1, which has no answer, and where there is nothing to end, no rule is made', async () => {
  const { said, end } = bench([sa('a', '1', '192.0.2.7', '1')])
  await end('a')
  await end('b')
  assert.deepEqual(said, ['end 1', 'told a', 'forget 1', 'told '])
})
