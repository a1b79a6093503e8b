// A controller at whose door newcomers knock, over real libp2p on loopback, and what a join there comes to.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Libp2pTransport, type MeshPeer } from '../../../mesh/libp2p/transport.ts'
import { Admission } from '../../../node/admission.ts'
import { Home } from '../../../node/home.ts'
import { initMesh } from '../../../node/init.ts'
import { Invites } from '../../../node/invites.ts'
import { type JoinRequest, type JoinResult, joinMesh } from '../../../node/join.ts'
import { Membership } from '../../../node/membership.ts'
import type { ControllerId } from '../../../state/kinds.ts'

export interface Inviter {
  readonly home: Home
  readonly invites: Invites
  readonly admission: Admission
  readonly membership: Membership
  /** `host:port`, TCP. */
  readonly endpoint: string
  readonly joined: string[]
  readonly refused: string[]
  /** ms that its clock is ahead. */
  ahead: number
  token(ttlSeconds?: number): Promise<string>
  /** A newcomer, in a directory of its own unless told. */
  join(token: string, request?: Partial<JoinRequest>): Promise<JoinResult & { dataDir: string }>
  stop(): Promise<void>
}

export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'overmesh-test-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'data')
}

/** The founder of a mesh, listening. */
export async function startInviter(t: TestContext, controller = 'alpha'): Promise<Inviter> {
  const dataDir = await temporaryDirectory(t)
  await initMesh({
    dataDir,
    name: 'prod',
    subnet: '10.77.0.0/16',
    subnet6: 'fd00:77::/64',
    controller,
    public: ['vpn.example.net'],
    listen: ['127.0.0.1:0'],
    meshListen: '127.0.0.1:0',
  })
  const home = await Home.open(dataDir)
  const invites = await Invites.open(home.directory)
  const joined: string[] = []
  const refused: string[] = []
  const admission = new Admission({
    home,
    invites,
    now: () => Date.now() + inviter.ahead,
    joined: (_id, name) => joined.push(name),
    refused: (_id, reason) => refused.push(reason),
  })
  const transport = await Libp2pTransport.start({
    privateKey: home.identityKey,
    id: home.id,
    meshId: home.mesh.id,
    listen: [{ host: '127.0.0.1', port: 0 }],
    peers: (): MeshPeer[] => [],
    standing: (id: ControllerId) => (home.views.isAdmitted(id) ? 'admitted' : 'unknown'),
    handler: { connected() {}, disconnected() {}, frame() {}, gossip: () => 'ignore' },
    joins: admission,
    farewell: () => [],
    introduction: () => undefined,
    onIntroduced: async () => {},
    onRefused: (_peer, reason) => refused.push(reason),
    onFarewell() {},
    software: 'test',
    now: Date.now,
    random: Math.random,
  })
  const endpoint = `127.0.0.1:${transport.addresses()[0].port}`
  const value = { ...home.controller, meshEndpoints: [endpoint] }
  await home.replica.write([{ kind: 'controller', id: home.id, value }])
  let stopped = false
  const inviter: Inviter = {
    home,
    invites,
    admission,
    membership: new Membership(home, async () => invites),
    endpoint,
    joined,
    refused,
    ahead: 0,
    token: async (ttlSeconds = 600) => (await inviter.membership.invite(ttlSeconds)).token,
    async join(token, request = {}) {
      const own = request.dataDir ?? (await temporaryDirectory(t))
      return { ...(await joinMesh(newcomer(own, token, request))), dataDir: own }
    },
    async stop() {
      if (stopped) return
      stopped = true
      await transport.stop()
      await home.close()
    },
  }
  t.after(() => inviter.stop())
  return inviter
}

export function newcomer(dataDir: string, token: string, request: Partial<JoinRequest> = {}): JoinRequest {
  return {
    dataDir,
    token,
    controller: 'beta',
    public: ['vpn2.example.net:1195'],
    listen: ['0.0.0.0:1195'],
    meshListen: '0.0.0.0:4002',
    ...request,
  }
}
