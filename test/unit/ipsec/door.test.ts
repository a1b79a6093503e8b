// What a device's first packet meets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Door } from '../../../node/ipsec/strongswan/door.ts'

function bench(code = 0) {
  const inputs: string[] = []
  const door = new Door({
    run: async (_program, _args, input = '') => {
      inputs.push(input)
      return { code, stdout: '', stderr: '', missing: code !== 0 }
    },
  })
  return { door, inputs }
}

test('shut, it drops first packets of IKE at both ports, and nothing else', async () => {
  const { door, inputs } = bench()
  await door.shut()
  assert.match(inputs[0], /dport 500 @th,128,64 0 drop\n.*dport 4500 @th,64,32 0 @th,160,64 0 drop/)
  assert.match(inputs[0], /policy accept/)
  await door.open()
  assert.doesNotMatch(inputs[1], /drop|chain/)
})

test('what is so already is not done again; in order, however fast it is asked for', async () => {
  const { door, inputs } = bench()
  await Promise.all([door.shut(), door.shut(), door.open(), door.open()])
  assert.equal(inputs.length, 2)
})

test('without nft there is no door', async () => {
  const { door, inputs } = bench(1)
  await door.shut()
  await door.open()
  assert.equal(inputs.length, 2)
})
