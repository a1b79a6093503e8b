// What controllers take from each other's channels and gossip.
import assert from 'node:assert/strict'
import {
  decodeFrame,
  decodeStatement,
  encodeFrame,
  encodeStatement,
  type Frame,
  type Statement,
} from '../../mesh/messages.ts'
import { Presence } from '../../mesh/presence.ts'
import { Statements } from '../../mesh/statements.ts'
import { encodeRecord, type Incarnation } from '../../state/record.ts'
import { clientId, clientValue, identity, record, START } from '../unit/state/samples.ts'
import { fuzz } from './mutate.ts'

const [a, b] = [identity(0), identity(1)]
const HASH = 'ab'.repeat(32)
const vector = { [`${a.id}/0000000000000001`]: [1, 5, 7, 9], [`${b.id}/0000000000000002`]: [1, 2 ** 40] }
const records = [
  encodeRecord(record({ kind: 'client', id: clientId(1), value: clientValue(1), author: 0 })),
  encodeRecord(record({ kind: 'setting', id: 'a', value: null, author: 0, sequence: 2 })),
]
const facts = [
  '1.0.0',
  START,
  false,
  true,
  HASH,
  12,
  true,
  ['192.0.2.0/24|internet'],
  true,
  [[clientId(9), START, true]],
] as const
const statements: Statement[] = [
  {
    type: 'presence',
    at: START,
    update: {
      boot: START,
      base: 0,
      version: 7,
      part: 0,
      parts: 1,
      facts,
      links: [[b.id, true, 1.25, 0]],
      up: [
        [clientId(1), START, '192.0.2.1:1194'],
        [clientId(2), START + 1, '[2001:db8::1]:1194'],
      ],
      down: [clientId(3)],
    },
  },
  {
    type: 'presence',
    at: START,
    update: {
      boot: START,
      base: 7,
      version: 8,
      part: 0,
      parts: 1,
      facts,
      links: [],
      up: [],
      down: [clientId(1)],
    },
  },
  { type: 'want', controller: b.id, at: START },
  { type: 'kick', controller: b.id, client: clientId(1), at: START },
]
const signer = new Statements({
  id: a.id,
  privateKey: a.privateKey,
  isAdmitted: () => true,
  publicKeyOf: () => undefined,
})
const frames: Frame[] = [
  { type: 'heartbeat', sent: START, echo: START + 0.5, held: 3.25, boot: START, version: 4 },
  { type: 'summary', vectorHash: HASH, stateHash: HASH, records: 100, answer: true },
  { type: 'vector', vector, stateHash: HASH, answer: false },
  { type: 'delta', records, known: vector, base: vector, more: true },
  { type: 'repair', records },
  { type: 'records', records },
  { type: 'stored', incarnation: '0000000000000001' as Incarnation, ranges: [1, 4, 6, 6] },
  { type: 'link', payload: Uint8Array.of(1, 2, 3) },
  signer.sign(statements[0]),
]

fuzz({
  name: 'frames between controllers',
  corpus: frames.map(encodeFrame),
  check: input => {
    const frame = decodeFrame(input)
    if (frame === undefined || frame.type === 'foreign') return
    assert.deepEqual(decodeFrame(encodeFrame(frame)), frame)
  },
})

const presence = new Presence({
  id: b.id,
  boot: START,
  now: () => START,
  facts: () => ({
    version: '1',
    startedAt: START,
    draining: false,
    holdsRootKey: false,
    gateway: false,
    gateway6: false,
    exit4: false,
    exit6: false,
    failing: [],
    ipsec: false,
    attachments: [],
    stateHash: HASH,
    records: 0,
  }),
  isAdmitted: () => true,
  isReachable: () => true,
})

fuzz({
  name: 'statements of controllers',
  corpus: statements.map(encodeStatement),
  check: input => {
    const statement = decodeStatement(input)
    if (statement === undefined || statement.type === 'foreign') return
    assert.deepEqual(decodeStatement(encodeStatement(statement)), statement)
    if (statement.type !== 'presence') return
    presence.receive(a.id, statement.update)
    for (const client of presence.clients()) presence.where(client)
    presence.takeWanted(() => true)
    // As when it is removed: the next one begins from nothing.
    if (statement.update.version > 1000) presence.heard(a.id, 0, 0)
  },
})
