// When controllers ask each other for presence that they missed, and how often they are answered.
import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import type { Frame, Statement } from '../../../mesh/messages.ts'
import { Presence } from '../../../mesh/presence.ts'
import { PresenceExchange } from '../../../mesh/presence-exchange.ts'
import type { ControllerId } from '../../../state/kinds.ts'
import { clientId, identity, START } from '../state/samples.ts'

const [A, B] = [identity(1).id, identity(2).id]
const WEB = clientId(1)

let time = START
/** What each sent to the other, in order. */
let sent: { from: ControllerId; statement: Statement }[] = []

function seat(id: ControllerId) {
  const presence = new Presence({
    id,
    boot: START,
    now: () => time,
    facts: () => ({
      version: 'here',
      startedAt: START,
      ...{
        draining: false,
        holdsRootKey: false,
        gateway: false,
        gateway6: false,
        exit4: false,
        exit6: false,
        ipsec: false,
      },
      ...{ failing: [], attachments: [], stateHash: '00'.repeat(32), records: 0 },
    }),
    isAdmitted: () => true,
    isReachable: () => true,
  })
  let signed: Statement
  const exchange = new PresenceExchange({
    id,
    presence,
    now: () => time,
    sign: statement => {
      signed = statement
      return { type: 'heartbeat' } as Frame
    },
    send: () => sent.push({ from: id, statement: signed }) > 0,
    // What is told to all is lost.
    publish: () => {},
    onDeadline: () => {},
  })
  return { id, presence, exchange }
}

let a: ReturnType<typeof seat>
let b: ReturnType<typeof seat>

beforeEach(() => {
  time = START
  sent = []
  a = seat(A)
  b = seat(B)
  a.exchange.tell()
})

/** A heartbeat of A's reaches B, and both do what is due. */
function beat(): void {
  const { boot, version } = a.presence.own
  b.exchange.heard(A, boot, version)
  time += 10
  if (time >= a.exchange.at) a.exchange.tell()
  if (time >= b.exchange.at) b.exchange.tell()
  deliver()
}

function deliver(): void {
  for (let next = sent.shift(); next !== undefined; next = sent.shift()) {
    const { from, statement } = next
    if (statement.type === 'want') a.exchange.wanted(from, statement.controller)
    else if (statement.type === 'presence') b.exchange.told(from, statement.update)
  }
}

function change(): void {
  if (a.presence.own.sessions.has(WEB)) a.presence.sessionDown(WEB)
  else a.presence.sessionUp(WEB, '192.0.2.1:1')
  time += 10
  a.exchange.tell()
}

const isEqual = () => b.presence.of(A)?.version === a.presence.own.version

test('a change that is lost just after everything was told is asked for at once', () => {
  beat()
  assert.ok(isEqual())
  change()
  assert.ok(!isEqual())
  beat()
  assert.ok(isEqual())
})

test('what may not be asked for yet is asked for as soon as it may, without hearing of it again', () => {
  for (let i = 0; i < 3; i++) {
    change()
    beat()
  }
  assert.ok(!isEqual(), 'more than two at once are not asked for')
  const due = b.exchange.at
  assert.ok(due > time && due < START + 1100, `in ${due - time} ms`)
  // What there is to tell meanwhile does not wait for that.
  b.presence.sessionUp(WEB, '192.0.2.2:1')
  assert.ok(b.exchange.at <= time + 10)
  time += 10
  b.exchange.tell()
  assert.equal(b.exchange.at, due)
  deliver()
  assert.ok(!isEqual())
  time = due
  b.exchange.tell()
  deliver()
  assert.ok(isEqual())
  assert.equal(b.exchange.at, Number.POSITIVE_INFINITY)
})

test('what came in another way meanwhile is not asked for', () => {
  for (let i = 0; i < 3; i++) {
    change()
    beat()
  }
  a.exchange.tellAll(B)
  deliver()
  assert.ok(isEqual())
  time = b.exchange.at
  b.exchange.tell()
  assert.deepEqual(sent, [])
})

test('nobody is answered more than three times at once, and once a second after that', () => {
  const answers = (): number => {
    a.exchange.wanted(B, A)
    return sent.splice(0).length
  }
  assert.deepEqual([answers(), answers(), answers(), answers()], [1, 1, 1, 0])
  time += 999
  assert.equal(answers(), 0)
  time += 1
  assert.deepEqual([answers(), answers()], [1, 0])
  time += 60_000
  assert.deepEqual([answers(), answers(), answers(), answers()], [1, 1, 1, 0])
  // A clock that is set back does not make anyone wait.
  time = START - 3_600_000
  a.exchange.clockSet()
  assert.equal(answers(), 1)
})
