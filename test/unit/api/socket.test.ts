import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { RemoteController } from '../../../node/api/remote.ts'
import { startApi } from '../../../node/api/server.ts'
import { apiSocketPath, MAX_SOCKET_PATH, socketState } from '../../../node/api/socket.ts'
import { FakeService } from './fake-service.ts'

let directory: string
let socketPath: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-socket-'))
  socketPath = apiSocketPath(directory)
})
afterEach(() => rmSync(directory, { recursive: true }))

test('only its owner may use the socket, and it is gone after close', async () => {
  assert.equal(await socketState(socketPath), 'absent')
  const api = await startApi({ service: new FakeService(), socketPath })
  assert.equal(statSync(socketPath).mode & 0o777, 0o600)
  assert.equal(statSync(join(directory, 'run')).mode & 0o777, 0o700)
  assert.equal(await socketState(socketPath), 'live')
  await api.close()
  assert.equal(await socketState(socketPath), 'absent')
})

test('a directory that was open to others is closed', async () => {
  mkdirSync(join(directory, 'run'), { mode: 0o755 })
  const api = await startApi({ service: new FakeService(), socketPath })
  assert.equal(statSync(join(directory, 'run')).mode & 0o777, 0o700)
  await api.close()
})

test('a socket that a killed process left behind is replaced', async () => {
  mkdirSync(join(directory, 'run'))
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => console.log('ready'))`,
  ])
  await new Promise(resolve => child.stdout.once('data', resolve))
  const gone = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
  assert.equal(await socketState(socketPath), 'stale')
  const api = await startApi({ service: new FakeService('web'), socketPath })
  assert.equal((await new RemoteController(socketPath).client('web')).name, 'web')
  await api.close()
})

test('a second controller on the same path is refused and the first goes on', async () => {
  const api = await startApi({ service: new FakeService('web'), socketPath })
  await assert.rejects(startApi({ service: new FakeService(), socketPath }), {
    code: 'in-use',
    message: /already running/,
  })
  assert.equal((await new RemoteController(socketPath).clients()).length, 1)
  await api.close()
})

test('a file that is not a socket is left alone', async () => {
  mkdirSync(join(directory, 'run'))
  writeFileSync(socketPath, 'precious')
  await assert.rejects(startApi({ service: new FakeService(), socketPath }), { code: 'not-a-socket' })
  assert.equal(statSync(socketPath).size, 8)
})

test('a path that the system would cut is explained', async () => {
  const long = join(directory, 'x'.repeat(MAX_SOCKET_PATH), 'api.sock')
  await assert.rejects(startApi({ service: new FakeService(), socketPath: long }), {
    code: 'too-long',
    message: /allows 107; use a data directory with a shorter path/,
  })
})
