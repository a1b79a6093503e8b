// Who is connected where, as each controller believes it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PART_SESSIONS, type PresenceUpdate } from '../../../mesh/messages.ts'
import { Presence } from '../../../mesh/presence.ts'
import type { PresentAttachment } from '../../../mesh/presence-types.ts'
import { MAX_TIME } from '../../../state/clock.ts'
import type { ClientId, ControllerId } from '../../../state/kinds.ts'
import { clientId, identity, START } from '../state/samples.ts'

const WEB = clientId(1)
const DB = clientId(2)
const ANY = (): boolean => true
const idOf = (index: number): ControllerId => identity(index).id

interface Seat {
  readonly id: ControllerId
  readonly presence: Presence
  readonly lost: ClientId[]
  readonly unreachable: Set<ControllerId>
  readonly strangers: Set<ControllerId>
  changes: number
  skew: number
  gateway: boolean
  gateway6: boolean
  exit4: boolean
  exit6: boolean
  failing: string[]
  attachments: PresentAttachment[]
}

let time = START

function seat(index: number, boot = START): Seat {
  const made = {
    id: idOf(index),
    lost: [] as ClientId[],
    unreachable: new Set<ControllerId>(),
    strangers: new Set<ControllerId>(),
    changes: 0,
    skew: 0,
    gateway: false,
    gateway6: false,
    exit4: false,
    exit6: false,
    failing: [] as string[],
    attachments: [] as PresentAttachment[],
  } as Seat & { presence: Presence }
  made.presence = new Presence({
    id: made.id,
    boot,
    now: () => time + made.skew,
    facts: () => ({
      version: `of ${index}`,
      startedAt: boot,
      draining: false,
      holdsRootKey: false,
      gateway: made.gateway,
      gateway6: made.gateway6,
      exit4: made.exit4,
      exit6: made.exit6,
      failing: made.failing,
      ipsec: made.attachments.length > 0,
      attachments: made.attachments,
      stateHash: '00'.repeat(32),
      records: 0,
    }),
    isAdmitted: id => !made.strangers.has(id),
    isReachable: id => !made.unreachable.has(id),
  })
  made.presence.onChange = () => {
    made.changes++
  }
  made.presence.onSuperseded = client => made.lost.push(client)
  return made
}

/** Tells everyone what one has to tell. */
function tell(from: Seat, ...to: Seat[]): PresenceUpdate[] {
  const updates = from.presence.take()
  for (const each of to) for (const update of updates) each.presence.receive(from.id, update)
  return updates
}

function tellAll(from: Seat, ...to: Seat[]): void {
  for (const each of to) for (const update of from.presence.snapshot()) each.presence.receive(from.id, update)
}

function heartbeat(from: Seat, to: Seat): void {
  to.presence.heard(from.id, from.presence.own.boot, from.presence.own.version)
}

const at = ({ presence }: Seat, client: ClientId) => presence.where(client)?.controller

test('a session is where its controller says, until it says that it ended', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, '192.0.2.1:1')
  tell(a, b)
  assert.equal(at(b, WEB), a.id)
  assert.equal(b.presence.where(WEB)?.session.remote, '192.0.2.1:1')
  a.presence.sessionMoved(WEB, '192.0.2.2:2')
  tell(a, b)
  assert.equal(b.presence.where(WEB)?.session.remote, '192.0.2.2:2')
  a.presence.sessionDown(WEB)
  tell(a, b)
  assert.equal(at(b, WEB), undefined)
  assert.deepEqual([...b.presence.clients()], [])
})

test('the newest session wins, also over one of a controller whose clock is an hour ahead', () => {
  const [a, b, c] = [seat(0), seat(1), seat(2)]
  a.skew = 3_600_000
  for (const each of [a, b, c]) tellAll(each, ...[a, b, c].filter(other => other !== each))
  a.presence.sessionUp(WEB, 'x')
  tell(a, b, c)
  b.presence.sessionUp(WEB, 'y')
  tell(b, a, c)
  for (const each of [a, b, c]) assert.equal(at(each, WEB), b.id)
  assert.deepEqual(a.lost, [WEB])
  assert.deepEqual(b.lost, [])
})

for (const ahead of [3 * 86_400_000, MAX_TIME - START])
  test(`nobody has a client for good by saying since when: ${ahead} ms from now`, () => {
    const [liar, b, c] = [seat(0), seat(1), seat(2)]
    for (const each of [liar, b, c]) tellAll(each, ...[liar, b, c].filter(other => other !== each))
    liar.skew = ahead
    liar.presence.sessionUp(DB, 'x')
    tell(liar, b, c)
    for (const each of [b, c]) assert.equal(at(each, DB), liar.id, 'where nobody else has it')
    b.presence.sessionUp(WEB, 'y')
    tell(b, c)
    liar.presence.sessionUp(WEB, 'x')
    tell(liar, b, c)
    for (const each of [b, c]) assert.equal(at(each, WEB), b.id)
    c.presence.sessionUp(DB, 'y')
    assert.equal(c.presence.where(DB)?.session.since, time)
    tell(c, b)
    for (const each of [b, c]) assert.equal(at(each, DB), c.id)
    assert.deepEqual([b.lost, c.lost], [[], []])
  })

test('sessions of the same moment have one winner everywhere', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  tellAll(b, a)
  a.presence.sessionUp(WEB, 'x')
  b.presence.sessionUp(WEB, 'y')
  tell(a, b)
  tell(b, a)
  assert.equal(at(a, WEB), at(b, WEB))
  assert.equal(a.lost.length + b.lost.length, 1)
})

test('a controller out of reach takes its sessions with it, and brings them back', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, 'x')
  tell(a, b)
  b.unreachable.add(a.id)
  b.presence.reconsider()
  assert.equal(at(b, WEB), undefined)
  assert.deepEqual(
    [...b.presence.entries()].map(each => each.controller),
    [b.id],
  )
  b.unreachable.clear()
  b.presence.reconsider()
  assert.equal(at(b, WEB), a.id)
})

test('a session that was replaced while its controller was out of reach is told so when both meet again', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  tellAll(b, a)
  a.presence.sessionUp(WEB, 'x')
  tell(a, b)
  a.unreachable.add(b.id)
  b.unreachable.add(a.id)
  time += 1000
  b.presence.sessionUp(WEB, 'y')
  tell(b, a)
  assert.deepEqual(a.lost, [])
  a.unreachable.clear()
  a.presence.reconsider()
  assert.deepEqual(a.lost, [WEB])
})

test('links that bring a controller within reach end the sessions it has newer ones of', () => {
  const [a, b, c] = [seat(0), seat(1), seat(2)]
  tellAll(b, a)
  tellAll(c, a)
  a.presence.sessionUp(WEB, 'x')
  tell(a, b)
  a.unreachable.add(b.id)
  time += 1000
  b.presence.sessionUp(WEB, 'y')
  tell(b, a)
  assert.deepEqual(a.lost, [])
  // What c tells of its links opens a way to b.
  a.presence.onChange = () => a.unreachable.delete(b.id)
  c.presence.setLinks([{ peer: b.id, up: true, rtt: 1, loss: 0 }])
  tell(c, a)
  assert.deepEqual(a.lost, [WEB])
})

test('of links only what makes other ways is told, and who missed it notices', () => {
  const [a, b] = [seat(0), seat(1)]
  const link = (rtt: number, up = true) => [{ peer: idOf(2), up, rtt, loss: 0 }]
  const rtt = () => b.presence.of(a.id)!.links[0].rtt
  a.presence.setLinks(link(20))
  tellAll(a, b)
  tell(a)
  a.presence.setLinks(link(24))
  assert.deepEqual(tell(a, b), [])
  a.presence.setLinks(link(40))
  tell(a, b)
  assert.equal(rtt(), 40)
  a.presence.refresh()
  assert.deepEqual(
    tell(a, b).map(({ links }) => links),
    [null],
  )
  assert.equal(rtt(), 40)
  a.presence.setLinks(link(0, false))
  tell(a)
  heartbeat(a, b)
  assert.deepEqual(b.presence.takeWanted(ANY), [a.id])
  tellAll(a, b)
  assert.equal(b.presence.of(a.id)!.links[0].up, false)
})

test('a gateway that comes or goes, and a route that fails, are a change of the ways', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  const before = b.changes
  a.gateway = true
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 1)
  assert.equal(b.presence.of(a.id)!.facts.gateway, true)
  a.failing = ['192.0.2.0/24|internet']
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 2)
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 2)
  a.gateway6 = true
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 3)
  assert.equal(b.presence.of(a.id)!.facts.gateway6, true)
  a.exit6 = true
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 4)
  assert.equal(b.presence.of(a.id)!.facts.exit6, true)
  a.exit4 = true
  a.presence.refresh()
  tell(a, b)
  assert.equal(b.changes, before + 5)
  assert.equal(b.presence.of(a.id)!.facts.exit4, true)
})

test('of two tellings of the ways the later counts, in whatever order they come, and one that is lost is asked for', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  const isGateway = () => b.presence.of(a.id)!.facts.gateway
  a.presence.refresh()
  const routine = a.presence.take()
  a.gateway = true
  a.presence.refresh()
  const news = a.presence.take()
  for (const update of [...news, ...routine]) b.presence.receive(a.id, update)
  assert.equal(isGateway(), true)
  a.gateway = false
  a.presence.refresh()
  const lost = a.presence.take()
  assert.ok(lost.length > 0)
  const { boot, version } = a.presence.own
  b.presence.heard(a.id, boot, version)
  assert.deepEqual(
    b.presence.takeWanted(() => true),
    [a.id],
  )
  tellAll(a, b)
  assert.equal(isGateway(), false)
  for (const update of lost) b.presence.receive(a.id, update)
  assert.equal(isGateway(), false)
  // What leads to no other ways is told anew soon enough, and asked for by nobody.
  a.presence.refresh()
  a.presence.take()
  assert.equal(a.presence.own.version, version)
})

test('who says nothing of IPv6 is no gateway of it, and who says nothing of the Internet may have a way there', () => {
  const [a, b] = [seat(0), seat(1)]
  a.gateway6 = true
  a.exit6 = true
  const [update] = a.presence.snapshot()
  const older = { ...update, facts: update.facts.slice(0, 10) as unknown as typeof update.facts }
  b.presence.receive(a.id, older)
  const { gateway6, exit4, exit6 } = b.presence.of(a.id)!.facts
  assert.deepEqual([gateway6, exit4, exit6], [false, true, false])
})

test('who is removed is forgotten', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, 'x')
  tell(a, b)
  b.strangers.add(a.id)
  b.presence.reconsider()
  assert.equal(b.presence.of(a.id), undefined)
  assert.deepEqual([...b.presence.clients()], [])
})

test('a change that got lost is noticed by the next one, and by a heartbeat', () => {
  const [a, b, c] = [seat(0), seat(1), seat(2)]
  tellAll(a, b, c)
  a.presence.sessionUp(WEB, 'x')
  tell(a)
  heartbeat(a, c)
  assert.deepEqual(c.presence.takeWanted(ANY), [a.id])
  a.presence.sessionUp(DB, 'y')
  tell(a, b)
  assert.equal(at(b, DB), undefined)
  assert.deepEqual(b.presence.takeWanted(ANY), [a.id])
  assert.deepEqual(b.presence.takeWanted(ANY), [])
  tellAll(a, b)
  assert.equal(at(b, WEB), a.id)
  assert.equal(at(b, DB), a.id)
  heartbeat(a, b)
  assert.equal(b.presence.wants, false)
})

test('what comes late, or twice, changes nothing', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, 'x')
  const first = tell(a, b)
  a.presence.sessionDown(WEB)
  tell(a, b)
  for (const update of first) b.presence.receive(a.id, update)
  assert.equal(at(b, WEB), undefined)
  assert.equal(b.presence.wants, false)
})

test('a later process of a controller voids all that the one before told', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, 'x')
  const old = tell(a, b)
  const again = seat(0, START + 5000)
  tellAll(again, b)
  assert.equal(at(b, WEB), undefined)
  for (const update of old) b.presence.receive(a.id, update)
  assert.equal(at(b, WEB), undefined)
})

test('a controller is believed on its own channel when its clock was set back before it started again', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  a.presence.sessionUp(WEB, 'x')
  const old = [...tell(a, b), ...a.presence.snapshot()]
  const again = seat(0, START - 3_600_000)
  heartbeat(again, b)
  assert.equal(at(b, WEB), undefined)
  assert.deepEqual(b.presence.takeWanted(ANY), [again.id])
  tellAll(again, b)
  again.presence.sessionUp(DB, 'y')
  tell(again, b)
  assert.equal(at(b, DB), again.id)
  // What the earlier process said does not come back, whoever repeats it.
  for (const update of old) b.presence.receive(a.id, update)
  assert.equal(at(b, WEB), undefined)
  assert.equal(at(b, DB), again.id)
})

test('a great presence comes in parts, and counts once all are there', () => {
  const [a, b] = [seat(0), seat(1)]
  const count = 2 * PART_SESSIONS + 1
  for (let i = 0; i < count; i++) a.presence.sessionUp(clientId(i), 'x')
  const parts = a.presence.snapshot()
  assert.equal(parts.length, 3)
  for (const part of [parts[2], parts[0]]) b.presence.receive(a.id, part)
  assert.equal(b.presence.of(a.id), undefined)
  b.presence.receive(a.id, parts[1])
  assert.equal(b.presence.of(a.id)?.sessions.size, count)
})

test('parts of two tellings fit together, whatever happened in between', () => {
  const [a, b] = [seat(0), seat(1)]
  const count = 2 * PART_SESSIONS
  for (let i = 0; i < count; i++) a.presence.sessionUp(clientId(i), 'x')
  const [first] = a.presence.snapshot()
  a.presence.sessionDown(clientId(0))
  const later = a.presence.snapshot()
  b.presence.receive(a.id, first)
  for (const part of later.slice(1)) b.presence.receive(a.id, part)
  assert.equal(b.presence.of(a.id), undefined)
  b.presence.receive(a.id, later[0])
  assert.equal(b.presence.of(a.id)?.sessions.size, count - 1)
})

test('many changes at once are told in parts of their own', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  for (let i = 0; i < 3 * PART_SESSIONS; i++) a.presence.sessionUp(clientId(i), 'x')
  assert.equal(tell(a, b).length, 3)
  assert.equal(b.presence.of(a.id)?.sessions.size, 3 * PART_SESSIONS)
  assert.equal(b.presence.wants, false)
})

test('nobody speaks for this controller but itself', () => {
  const [a, b] = [seat(0), seat(1)]
  a.presence.sessionUp(WEB, 'x')
  b.presence.sessionUp(DB, 'y')
  for (const update of b.presence.snapshot()) a.presence.receive(a.id, update)
  assert.equal(at(a, DB), undefined)
  assert.equal(at(a, WEB), a.id)
})

test('what a controller told before it was out of reach counts again once it is heard to be the same process', () => {
  const [a, b] = [seat(0), seat(1)]
  a.presence.sessionUp(WEB, 'x')
  tellAll(a, b)
  b.unreachable.add(a.id)
  assert.equal(at(b, WEB), undefined)
  b.presence.connecting(a.id)
  b.unreachable.delete(a.id)
  // It may have started anew, and know nothing of it.
  assert.equal(at(b, WEB), undefined)
  const before = b.changes
  heartbeat(a, b)
  assert.equal(at(b, WEB), a.id)
  assert.ok(b.changes > before)

  b.unreachable.add(a.id)
  b.presence.connecting(a.id)
  b.unreachable.delete(a.id)
  heartbeat(seat(0, START + 1), b)
  assert.equal(at(b, WEB), undefined)
})

test('a channel beside a link that is up casts no doubt', () => {
  const [a, b] = [seat(0), seat(1)]
  a.presence.sessionUp(WEB, 'x')
  tellAll(a, b)
  b.presence.connecting(a.id)
  assert.equal(at(b, WEB), a.id)
})

test('attachments are told with all else', () => {
  const [a, b] = [seat(0), seat(1)]
  tellAll(a, b)
  const before = b.changes
  a.attachments = [{ id: '00000000000000aa', since: START, several: true }]
  a.presence.refresh()
  tell(a, b)
  assert.deepEqual(b.presence.of(a.id)?.facts.attachments, a.attachments)
  assert.equal(b.presence.of(a.id)?.facts.ipsec, true)
  assert.ok(b.changes > before)
})
