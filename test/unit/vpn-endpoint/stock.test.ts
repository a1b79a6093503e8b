// Stock OpenVPN of this machine as the client, without root: `--dev null`.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { LabProcess } from '../../lab/process.ts'
import { LoopbackServer } from './loopback.ts'
import { type EndpointOptions, World } from './world.ts'

const CONNECTED = /Initialization Sequence Completed/

async function serve(t: TestContext, options: EndpointOptions = {}) {
  const world = new World()
  const server = await LoopbackServer.start(world, options)
  t.after(() => server.stop())
  return { world, server }
}

async function openvpn(t: TestContext, pack: string, ...args: string[]): Promise<LabProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-endpoint-'))
  const file = join(directory, 'client.ovpn')
  writeFileSync(file, pack, { mode: 0o600 })
  const argv = ['openvpn', '--config', file, '--dev', 'null', '--ifconfig-noexec', '--route-noexec', ...args]
  const process = await LabProcess.start(argv, { name: 'openvpn', logFile: '/dev/null' })
  t.after(async () => {
    await process.kill()
    rmSync(directory, { recursive: true })
  })
  return process
}

test('a stock client connects, takes what is pushed, and says good-bye', async t => {
  const { world, server } = await serve(t)
  const client = await openvpn(t, world.pack('web', { remotes: [server.remote] }))
  await client.waitFor(CONNECTED)
  assert.match(client.output, /PUSH_REPLY,route-gateway 10\.77\.0\.1,topology subnet,ping 1/)
  assert.match(client.output, /Data Channel: cipher 'AES-256-GCM'/)
  assert.doesNotMatch(client.output, /WARNING|inconsistent/)
  const [session] = server.endpoint.sessions()
  assert.equal(session.name, 'web')
  assert.equal(session.tlsVersion, 'TLSv1.3')
  await client.stop('SIGINT')
  assert.deepEqual(server.log, ['up web', 'down web: the client left'])
})
