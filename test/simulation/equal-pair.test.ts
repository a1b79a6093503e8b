// What two controllers with the same records tell each other about them: next to nothing, however many there are.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeFrame } from '../../mesh/messages.ts'
import { settingOp } from '../unit/state/samples.ts'
import { areConnected } from './mesh-checks.ts'
import { MeshWorld } from './mesh-world.ts'

const RECORDS = 2000
const ROUNDS = 20
/** ms between two comparisons, each end on its own. */
const TURN = 3000

test('a comparison of equal replicas takes less than 4 kB', { timeout: 60_000 }, async () => {
  const world = new MeshWorld(7)
  const { clockwork } = world
  await world.found(2, () => 0)
  const { members } = world
  const [first] = members
  const ops = Array.from({ length: RECORDS }, (_, index) => settingOp(`s${index}`, index))
  assert.ok(await world.within(world.write(first, ops)))
  const areEqual = () => new Set(members.map(({ process }) => process!.replica.hash())).size === 1
  assert.notEqual(await clockwork.until(() => areConnected(members) && areEqual(), 60_000), undefined)
  await clockwork.advance(2 * TURN)
  let bytes = 0
  const types = new Set<string>()
  for (const { process } of members) {
    const { port } = process!
    const { send } = port
    port.send = (peer, frame) => {
      const type = decodeFrame(frame)!.type
      if (type !== 'heartbeat' && type !== 'signed') {
        bytes += frame.length
        types.add(type)
      }
      return send.call(port, peer, frame)
    }
  }
  await clockwork.advance(ROUNDS * TURN)
  assert.deepEqual([...types], ['summary'])
  assert.ok(bytes / ROUNDS < 4096, `${bytes / ROUNDS} bytes a round`)
})
