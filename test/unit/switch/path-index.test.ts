// Ports by address, against a Map; paths between text and kernel structures.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { wrapMemory } from '../../../node/switch/memory.ts'
import { formatRemote, type Path, pathKey } from '../../../node/switch/path.ts'
import { PathIndex } from '../../../node/switch/path-index.ts'
import { PeerIndex } from '../../../node/switch/peer-index.ts'
import { PATH_STRIDE, readPath, writePath } from '../../../node/switch/socket-address.ts'

const remote = fc.constantFrom('10.0.0.1', '10.0.0.2', '192.0.2.200', '2001:db8::1', '2001:db8::2', '::1')
const path: fc.Arbitrary<Path> = fc.record({
  socket: fc.nat(1),
  remote,
  port: fc.integer({ min: 1, max: 4 }),
  local: fc.constant(''),
  ifindex: fc.constant(0),
})

test('adding, moving and removing ports leaves exactly those that a Map has', () => {
  const CAPACITY = 12
  const steps = fc.array(fc.record({ slot: fc.integer({ min: 1, max: CAPACITY }), path: fc.option(path) }), {
    maxLength: 60,
  })
  fc.assert(
    fc.property(steps, fc.integer(), (steps, seed) => {
      const paths = wrapMemory(new ArrayBuffer((CAPACITY + 1) * PATH_STRIDE))
      const sockets = new Uint8Array(CAPACITY + 1)
      const index = new PathIndex(CAPACITY, paths, sockets, seed)
      const model = new Map<string, number>()
      const probe = wrapMemory(new ArrayBuffer(PATH_STRIDE))
      const find = (path: Path): number => {
        writePath(probe, 0, path)
        return index.find(probe, 0, path.socket)
      }
      const everAsked = new Map<string, Path>()
      for (const { slot, path } of steps) {
        index.remove(slot)
        for (const [key, owner] of model) if (owner === slot) model.delete(key)
        if (path === null) continue
        everAsked.set(pathKey(path), path)
        if (find(path) !== 0) continue
        writePath(paths, slot * PATH_STRIDE, path)
        sockets[slot] = path.socket
        index.add(slot)
        model.set(pathKey(path), slot)
      }
      for (const [key, path] of everAsked) assert.equal(find(path), model.get(key) ?? 0, key)
    }),
    { numRuns: 500 },
  )
})

test('a path survives the way to kernel structures and back', () => {
  const memory = wrapMemory(new ArrayBuffer(PATH_STRIDE))
  for (const path of [
    { socket: 0, remote: '192.0.2.1', port: 1194, local: '198.51.100.7', ifindex: 3 },
    { socket: 1, remote: '192.0.2.1', port: 65535, local: '', ifindex: 0 },
    { socket: 2, remote: '2001:db8::5', port: 1, local: '2001:db8::1', ifindex: 9 },
    { socket: 2, remote: 'fe80::1', port: 1, local: 'fe80::2', ifindex: 4 },
  ]) {
    assert.equal(writePath(memory, 0, path), true)
    assert.deepEqual(readPath(memory, 0, path.socket, path.ifindex), path)
  }
  assert.equal(
    writePath(memory, 0, { socket: 0, remote: 'a.example', port: 1, local: '', ifindex: 0 }),
    false,
  )
})

test('paths in text', () => {
  const v4 = { socket: 0, remote: '192.0.2.1', port: 1194, local: '', ifindex: 0 }
  const v6 = { ...v4, remote: '2001:db8::5' }
  assert.equal(formatRemote(v4), '192.0.2.1:1194')
  assert.equal(formatRemote(v6), '[2001:db8::5]:1194')
  assert.equal(pathKey(v4), pathKey({ ...v4, local: '10.0.0.1', ifindex: 7 }))
  assert.notEqual(pathKey(v4), pathKey({ ...v4, socket: 1 }))
})

test('peer ids over the whole range', () => {
  const index = new PeerIndex()
  for (const id of [0, 4095, 4096, 0xfffffe]) {
    assert.equal(index.get(id), 0)
    index.set(id, id + 1)
  }
  for (const id of [0, 4095, 4096, 0xfffffe]) assert.equal(index.get(id), id + 1)
  assert.equal(index.get(1), 0)
})
