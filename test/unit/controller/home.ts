// A data directory in a temporary place, and what the tests of this folder do with it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type InitRequest, initMesh } from '../../../node/init.ts'
import { openOffline } from '../../../node/offline.ts'
import type { ControllerService } from '../../../node/service.ts'
import { type Profile, parseProfile } from '../../../node/vpn/profile.ts'

export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'overmesh-test-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'data')
}

/** A mesh of one controller; returns its data directory. */
export async function newMesh(t: TestContext, request: Partial<InitRequest> = {}): Promise<string> {
  const dataDir = await temporaryDirectory(t)
  await initMesh({
    dataDir,
    name: 'prod',
    subnet: '10.77.0.0/24',
    controller: 'alpha',
    public: ['vpn.example.net'],
    listen: ['127.0.0.1:0'],
    meshListen: '127.0.0.1:0',
    ...request,
  })
  return dataDir
}

/** Opens the directory for one piece of work, as a command does. */
export async function withService<T>(
  dataDir: string,
  work: (service: ControllerService) => Promise<T>,
): Promise<T> {
  const { service, close } = await openOffline(dataDir)
  try {
    return await work(service)
  } finally {
    await close()
  }
}

/** Of a clientpack, for who asks a controller as soon as it runs: on a busy machine its switch warms up for longer than a pack waits. */
export function patientProfile(content: Uint8Array): Profile {
  return { ...parseProfile(Buffer.from(content).toString('utf8')), pollMs: 20_000 }
}
