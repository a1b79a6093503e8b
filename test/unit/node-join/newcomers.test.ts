// Newcomers that do not do as they should, once they are connected: what the controller that invited makes of them.
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { encode } from '@ipld/dag-cbor'
import {
  decodeJoinMessage,
  encodeJoinMessage,
  type JoinMessage,
  type JoinRequest,
} from '../../../mesh/admission/messages.ts'
import { inviteKey, proveInvited, provePossession } from '../../../mesh/admission/proof.ts'
import { parseToken } from '../../../mesh/admission/token.ts'
import { dialJoin } from '../../../mesh/libp2p/dial-join.ts'
import type { FrameStream } from '../../../mesh/libp2p/frame-stream.ts'
import { Clients } from '../../../node/clients.ts'
import { certificateTrust } from '../../../state/authority.ts'
import { controllerIdOf } from '../../../state/kinds.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { encodeRecord, rawPublicKey } from '../../../state/record.ts'
import { Replica } from '../../../state/replica.ts'
import type { Op } from '../../../state/writing.ts'
import { type Inviter, startInviter } from './world.ts'

/** A newcomer that says what the test wants it to. */
async function knock(t: TestContext, token: string) {
  const { inviter, endpoints, secret, inviteId } = parseToken(token)
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = rawPublicKey(privateKey)
  const connection = await dialJoin({ privateKey, endpoints, publicKey: inviter, timeoutMs: 5000 })
  t.after(() => connection.close())
  const issuing = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const request: JoinRequest = {
    type: 'join',
    version: 1,
    highest: 1,
    software: 'test',
    inviteId,
    proof: proveInvited(inviteKey(secret), publicKey, inviter),
    now: Date.now(),
    name: 'beta',
    publicKey: createPublicKey(issuing.privateKey).export({ type: 'spki', format: 'der' }),
    possession: provePossession(issuing.privateKey, publicKey, inviter),
  }
  const { stream } = connection
  return {
    stream,
    privateKey,
    publicKey,
    inviter,
    id: controllerIdOf(publicKey),
    issuing: issuing.privateKey,
    request,
    async ask(change: Partial<JoinRequest> = {}): Promise<JoinMessage | undefined> {
      stream.send(encodeJoinMessage({ ...request, ...change }))
      return hear(stream)
    },
    close: () => connection.close(),
  }
}
type Newcomer = Awaited<ReturnType<typeof knock>>

const hear = async (stream: FrameStream): Promise<JoinMessage | undefined> =>
  decodeJoinMessage(await stream.receive())

function assertRefused(message: JoinMessage | undefined, reason: RegExp): void {
  assert.equal(message?.type, 'refused')
  assert.match((message as { reason: string }).reason, reason)
}

/** Gets what an admitted newcomer gets, and has it write. @returns its records */
async function write({ stream, privateKey, publicKey, id }: Newcomer, ops: (certificate: string) => Op[]) {
  const admitted = (await hear(stream)) as JoinMessage & { type: 'admitted' }
  assert.equal(admitted.type, 'admitted')
  const replica = await Replica.open({
    store: new MemoryStore(),
    identity: { id, privateKey },
    trust: certificateTrust(admitted.rootCertificate),
    now: Date.now,
    random: randomBytes,
  })
  stream.send(encodeJoinMessage({ type: 'vector', vector: replica.vector() }))
  const delta = (await hear(stream)) as JoinMessage & { type: 'delta' }
  await replica.absorb(delta)
  await replica.write(ops(admitted.issuingCertificate))
  const records = [...replica.all('controller'), ...replica.all('lease'), ...replica.all('setting')]
  return { own: records.filter(({ author }) => author === id).map(encodeRecord), publicKey }
}

function controllerOp({ id, publicKey }: Newcomer, certificateChain: string, change: object = {}): Op {
  const value = {
    name: 'beta',
    publicKey: Buffer.from(publicKey).toString('hex'),
    certificateChain,
    address: '10.77.9.9',
    publicEndpoints: [],
    meshEndpoints: [],
    joinedAt: Date.now(),
    ...change,
  }
  return { kind: 'controller', id, value }
}

const leaseOp = (each: Newcomer): Op => ({
  kind: 'lease',
  id: '10.77.9.9',
  value: { holder: each.id, holderKind: 'controller' },
})

async function assertStillGood(inviter: Inviter, token: string): Promise<void> {
  assert.equal(inviter.home.views.controllers().length, 1)
  await inviter.join(token, { controller: 'late' })
}

test('requests that are none, or of another version, cost no invitation', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const foreign = await knock(t, token)
  foreign.stream.send(encode(['join', { version: 9 }]))
  assertRefused(
    await hear(foreign.stream),
    /joins by version 9 of .*by version 1; upgrade the controller that invited/,
  )
  const frames = [
    Uint8Array.of(),
    randomBytes(100),
    new Uint8Array(100_000),
    encodeJoinMessage({ type: 'welcome' }),
    encodeJoinMessage({ type: 'vector', vector: {} }),
    encodeJoinMessage({ ...foreign.request, publicKey: new Uint8Array(256), name: 'x'.repeat(63) }).subarray(
      1,
    ),
  ]
  for (const frame of frames) {
    const each = await knock(t, token)
    each.stream.send(frame)
    assertRefused(await hear(each.stream), /does not speak as a newcomer does/)
    assert.equal(await each.stream.receive(), undefined, 'the connection ends')
  }
  // Longer than any newcomer's frame may be: cut off.
  const long = await knock(t, token)
  long.stream.send(new Uint8Array(2 ** 20))
  assert.equal(await long.stream.receive(), undefined)
  await assertStillGood(inviter, token)
})

test('a proof made for another key, and keys that are not one’s own, cost no invitation', async t => {
  const inviter = await startInviter(t)
  const token = await inviter.token()
  const one = await knock(t, token)
  const other = await knock(t, token)
  assertRefused(await other.ask({ proof: one.request.proof }), /the token is not good here/)
  const issuingKeys: [string, (each: Newcomer) => Partial<JoinRequest>][] = [
    ['of another', () => ({ publicKey: one.request.publicKey })],
    [
      'shown for another key',
      () => ({ publicKey: one.request.publicKey, possession: one.request.possession }),
    ],
    ['no key', () => ({ publicKey: randomBytes(91) })],
    ['of another kind', each => ownKey(each, generateKeyPairSync('ed25519').privateKey)],
    ['of another curve', each => ownKey(each, generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)],
  ]
  for (const [, change] of issuingKeys) {
    const each = await knock(t, token)
    assertRefused(await each.ask(change(each)), /the issuing key is not one, or not its own/)
  }
  await assertStillGood(inviter, token)
})

function ownKey({ publicKey, inviter }: Newcomer, key: KeyObject): Partial<JoinRequest> {
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const isEd25519 = key.asymmetricKeyType === 'ed25519'
  return {
    publicKey: der,
    possession: isEd25519 ? randomBytes(64) : provePossession(key, publicKey, inviter),
  }
}

test('who breaks off once it was let in has used the token up, and leaves nothing behind', async t => {
  const inviter = await startInviter(t)
  const each = await knock(t, await inviter.token())
  assert.equal((await each.ask())?.type, 'admitted')
  await each.close()
  while (inviter.refused.length === 0) await new Promise(resolve => setTimeout(resolve, 10))
  assert.match(inviter.refused[0], /the join of beta broke off; the token is used up/)
  assert.equal(inviter.home.views.controllers().length, 1)
  // The name is free again.
  await inviter.join(await inviter.token(), { controller: 'beta' })
})

test('records of something else than the newcomer itself are not taken', async t => {
  const inviter = await startInviter(t)
  const wrong: [what: string, ops: (each: Newcomer, chain: string) => Op[], reason: RegExp][] = [
    [
      'another name',
      (each, chain) => [controllerOp(each, chain, { name: 'alpha' })],
      /something else than itself/,
    ],
    [
      'a setting',
      (each, chain) => [controllerOp(each, chain), { kind: 'setting', id: 'x', value: { value: 1 } }],
      /something else than itself/,
    ],
    [
      'its own removal',
      (each, chain) => [controllerOp(each, chain, { removedAt: Date.now() })],
      /something else than itself/,
    ],
  ]
  for (const [what, ops, reason] of wrong) {
    const each = await knock(t, await inviter.token())
    each.stream.send(encodeJoinMessage(each.request))
    const { own } = await write(each, chain => ops(each, chain))
    each.stream.send(encodeJoinMessage({ type: 'own', records: own }))
    assertRefused(await hear(each.stream), reason)
    assert.equal(inviter.home.views.controllers().length, 1, what)
    assert.equal(inviter.home.replica.get('setting', 'x'), undefined)
  }

  const empty = await knock(t, await inviter.token())
  empty.stream.send(encodeJoinMessage(empty.request))
  await write(empty, chain => [controllerOp(empty, chain)])
  empty.stream.send(encodeJoinMessage({ type: 'own', records: [] }))
  assertRefused(await hear(empty.stream), /do not make it a controller/)

  const good = await knock(t, await inviter.token())
  good.stream.send(encodeJoinMessage(good.request))
  const { own } = await write(good, chain => [controllerOp(good, chain), leaseOp(good)])
  good.stream.send(encodeJoinMessage({ type: 'own', records: own }))
  assert.equal((await hear(good.stream))?.type, 'welcome')
  assert.ok(inviter.home.views.isAdmitted(good.id))

  // A key that was here before, even with a token that is good.
  await good.close()
  await new Promise(resolve => setTimeout(resolve, 200))
  const known = await knock(t, await inviter.token())
  const { inviter: key, secret, inviteId } = parseToken(await inviter.token())
  const again = await dialJoin({
    privateKey: good.privateKey,
    endpoints: [inviter.endpoint],
    publicKey: key,
    timeoutMs: 5000,
  })
  t.after(() => again.close())
  const request = {
    ...known.request,
    inviteId,
    name: 'gamma',
    proof: proveInvited(inviteKey(secret), good.publicKey, key),
  }
  again.stream.send(encodeJoinMessage(request))
  assertRefused(await hear(again.stream), /a controller with this key was here before/)
})

test('a newcomer that cannot choose again, and whose address another has, is turned away and leaves nothing behind', async t => {
  const inviter = await startInviter(t)
  const each = await knock(t, await inviter.token())
  each.stream.send(encodeJoinMessage(each.request))
  const { own } = await write(each, chain => [controllerOp(each, chain), leaseOp(each)])
  // Its own lease is the earlier one, and nobody has heard of it.
  const client = await new Clients(inviter.home).add({ name: 'web', ip: '10.77.9.9' })
  each.stream.send(encodeJoinMessage({ type: 'own', records: own }))
  assertRefused(await hear(each.stream), /^10\.77\.9\.9 was given to another while it joined/)
  assert.equal(inviter.home.replica.get('lease', '10.77.9.9')?.holder, client.id)
  assert.equal(inviter.home.views.controllers().length, 1)
})

test('a newcomer that stalls while it has its choice of addresses keeps others waiting for a moment only', async t => {
  const inviter = await startInviter(t)
  const each = await knock(t, await inviter.token())
  each.stream.send(encodeJoinMessage(each.request))
  await write(each, chain => [controllerOp(each, chain)])
  each.stream.send(encodeJoinMessage({ type: 'vector', vector: inviter.home.replica.vector() }))
  const delta = await hear(each.stream)
  assert.ok(delta?.type === 'delta' && delta.records.length === 0)
  const others = [await inviter.token(), await inviter.token()]
  await Promise.all(others.map((token, i) => inviter.join(token, { controller: `c${i}` })))
  assert.deepEqual(inviter.home.views.conflicts(), [])
})

test('who connects and says nothing is let go after ten seconds, and nobody is told', async t => {
  const inviter = await startInviter(t)
  await inviter.token()
  let abort: (() => void) | undefined
  const stream: FrameStream = {
    send: () => true,
    drained: async () => {},
    receive: () => new Promise(resolve => (abort = () => resolve(undefined))),
    close: async () => {},
    abort: () => abort?.(),
  }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let isOver = false
  const served = inviter.admission.serve(stream, new Uint8Array(32)).then(() => (isOver = true))
  t.mock.timers.tick(9999)
  await Promise.resolve()
  assert.equal(isOver, false)
  t.mock.timers.tick(1)
  await served
  assert.deepEqual(inviter.refused, [])
})
