import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogReader, type Problem } from '../../../node/ipsec/strongswan/log-reader.ts'
import { tunnelsOf } from '../../../node/ipsec/strongswan/suspects.ts'
import { tunnel } from './tunnels.ts'

function problemsOf(...lines: string[]): Problem[] {
  const reader = new LogReader()
  const problems: Problem[] = []
  reader.onProblem = problem => problems.push(problem)
  for (const line of lines) reader.read(line)
  return problems
}

test('packets that a site may not send are counted, and their lines go no further', () => {
  const reader = new LogReader()
  const foreign = '08[ESP] discarding inbound IP packet 10.9.9.9 == 10.77.0.5 [1] due to policy'
  for (const line of [
    foreign,
    foreign,
    '08[ESP] no matching outbound IPsec policy for fe80::1 == ff02::2 [58]',
  ])
    assert.equal(reader.countPacket(line), true)
  assert.equal(reader.countPacket('08[IKE] <branch|1> 08[ESP] discarding inbound IP packet'), false)
  assert.equal(reader.refusedPackets, 2)
})

const CASES: [line: string, kind: string, words: RegExp][] = [
  ['received NO_PROPOSAL_CHOSEN notify error', 'proposal', /^no proposal chosen/],
  ['received NO_PROPOSAL_CHOSEN error notify', 'proposal', /^no proposal chosen/],
  ['received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built', 'proposal', /^no proposal chosen.*ESP/],
  ['no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN', 'proposal', /version/],
  ['received AUTHENTICATION_FAILED notify error', 'authentication', /^authentication failed/],
  [
    "tried 1 shared key for 'mesh' - 'branch', but MAC mismatched",
    'authentication',
    /pre-shared key is another/,
  ],
  ["no shared key found for 'mesh' - 'branch'", 'authentication', /another name/],
  ['no matching peer config found', 'authentication', /no attachment has these identities/],
  ["constraint check failed: identity 'branch' required ", 'authentication', /not "branch"/],
  ['could not decrypt payloads', 'authentication', /pre-shared key/],
  ["no trusted ECDSA public key found for 'branch'", 'certificate', /^certificate not trusted/],
  ['subject certificate invalid (valid from Jan 01 to Jan 02)', 'certificate', /expired/],
  ['received TS_UNACCEPTABLE notify, no CHILD_SA built', 'selectors', /^traffic selectors unacceptable/],
  ['received INVALID_ID_INFORMATION error notify', 'selectors', /^traffic selectors unacceptable/],
  [
    'traffic selectors 10.99.0.0/16 === 10.50.0.0/24 unacceptable',
    'selectors',
    /10\.99\.0\.0\/16 here and 10\.50\.0\.0\/24/,
  ],
  ['traffic selectors  ===  unacceptable', 'selectors', /transport mode/],
  ['IKE version 1 not supported', 'version', /built without IKE version 1/],
  [
    'received unsupported IKE version 1.0 from 192.0.2.2, sending INVALID_MAJOR_VERSION',
    'proposal',
    /uses IKE version 1/,
  ],
  ['unable to resolve nowhere.invalid, initiate aborted', 'name', /^name not resolved: nowhere\.invalid$/],
  ['giving up after 5 retransmits', 'no answer', /^no answer from the peer$/],
  ['retransmit 3 of request with message ID 0', 'no answer', /^no answer from the peer$/],
  ['retransmit 4 of request with message ID 1', 'no answer', /UDP port 4500/],
  ['sending retransmit 3 of request message ID 0, seq 1', 'no answer', /^no answer from the peer$/],
]

for (const [line, kind, words] of CASES)
  test(`in plain words: ${line}`, () => {
    const [problem, ...others] = problemsOf(`07[IKE] <a|3> ${line}`)
    assert.equal(problem.kind, kind)
    assert.match(problem.text, words)
    assert.equal(problem.connection, 'a')
    assert.equal(others.length, 0)
  })

test('what is no problem is none, whatever names a peer gives itself', () => {
  assert.deepEqual(
    problemsOf(
      '07[IKE] <a|3> retransmit 1 of request with message ID 0',
      '07[IKE] <a|3> IKE_SA a[3] established between 192.0.2.1[mesh]...192.0.2.2[branch]',
      "07[IKE] <a|3> authentication of 'received AUTHENTICATION_FAILED notify error' with pre-shared key successful",
      'received AUTHENTICATION_FAILED notify error',
      '',
      '07[IKE] <a|',
    ),
    [],
  )
})

test('what was said before belongs to it: who it is, from where, what it offers', () => {
  const [unknown, proposal] = problemsOf(
    '05[NET] received packet: from 192.0.2.2[500] to 192.0.2.1[500] (240 bytes)',
    '05[IKE] <8> 192.0.2.2 is initiating an IKE_SA',
    '06[CFG] <8> looking for peer configs matching 192.0.2.1[mesh]...192.0.2.2[elsewhere]',
    '06[CFG] <8> no matching peer config found',
    '07[CFG] <9> received proposals: IKE:3DES_CBC',
    '07[CFG] <9> configured proposals: IKE:AES_CBC_256',
    '07[IKE] <9> received proposals unacceptable',
  )
  assert.equal(unknown.connection, undefined)
  assert.equal(unknown.remote, '192.0.2.2')
  assert.equal(unknown.remoteId, 'elsewhere')
  assert.match(unknown.text, /calls itself "elsewhere", and this end "mesh"/)
  assert.match(proposal.text, /it offers IKE:3DES_CBC; here: IKE:AES_CBC_256/)
})

test('a certificate that has expired is not called one of another authority', () => {
  const problems = problemsOf(
    '07[CFG] <a|3> subject certificate invalid (valid from Jan 01 00:00:00 2020 to Jan 01 00:00:00 2021)',
    "07[IKE] <a|3> no trusted ECDSA public key found for 'O=Rome, CN=nice'",
    "07[IKE] <a|4> no trusted ECDSA public key found for 'O=Rome, CN=nice'",
  )
  assert.deepEqual(
    problems.map(({ text }) => /expired|did not sign/.exec(text)?.[0]),
    ['expired', 'did not sign'],
  )
})

test('the thread’s packet tells the address of what has no IKE SA', () => {
  const [problem] = problemsOf(
    '05[NET] received packet: from 192.0.2.2[500] to 192.0.2.1[500] (240 bytes)',
    '05[IKE] no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN',
  )
  assert.equal(problem.remote, '192.0.2.2')
})

test('words have a length', () => {
  const [problem] = problemsOf(
    `06[CFG] <8> looking for peer configs matching 192.0.2.1[%any]...192.0.2.2[${'x'.repeat(5000)}]`,
    '06[CFG] <8> no matching peer config found',
  )
  assert.ok(problem.text.length <= 400)
})

test('memory has a limit', () => {
  const reader = new LogReader()
  const problems: Problem[] = []
  reader.onProblem = problem => problems.push(problem)
  for (let id = 0; id < 1000; id++) reader.read(`05[IKE] <${id}> 192.0.2.${id % 250} is initiating an IKE_SA`)
  reader.read('06[CFG] <0> no matching peer config found')
  reader.read('06[CFG] <999> no matching peer config found')
  assert.deepEqual(
    problems.map(({ remote }) => remote),
    [undefined, '192.0.2.249'],
  )
})

test('the interface of user ESP', () => {
  const reader = new LogReader()
  let device: string | undefined
  reader.onDevice = name => {
    device = name
  }
  reader.read('00[LIB] created TUN device: ipsec1')
  assert.equal(device, 'ipsec1')
})

test('a problem belongs to the tunnel that is named; else to those that could be meant and are down', () => {
  const suspects = [
    { tunnel: tunnel({ id: 'fixed' }), addresses: [], isUp: false },
    {
      tunnel: tunnel({ id: 'named', remote: 'a.example', remoteId: 'n' }),
      addresses: ['192.0.2.7'],
      isUp: false,
    },
    { tunnel: tunnel({ id: 'any', remote: '%any', remoteId: 'm' }), addresses: [], isUp: false },
    { tunnel: tunnel({ id: 'up', remote: '%any', remoteId: 'u' }), addresses: [], isUp: true },
  ]
  const problem = {
    kind: 'proposal',
    text: '',
    connection: undefined,
    remote: undefined,
    remoteId: undefined,
  } as const
  assert.deepEqual(tunnelsOf({ ...problem, connection: 'up' }, suspects).ids, ['up'])
  assert.deepEqual(tunnelsOf({ ...problem, connection: 'any.back' }, suspects).ids, ['any'])
  assert.deepEqual(tunnelsOf({ ...problem, connection: 'gone' }, suspects).ids, [])
  assert.deepEqual(tunnelsOf({ ...problem, remote: '192.0.2.2' }, suspects).ids, ['fixed'])
  assert.deepEqual(tunnelsOf({ ...problem, remote: '192.0.2.7' }, suspects).ids, ['named'])
  assert.deepEqual(tunnelsOf({ ...problem, remote: '198.51.100.1' }, suspects).ids, ['any'])
  assert.deepEqual(tunnelsOf({ ...problem, remote: '192.0.2.2', remoteId: 'm' }, suspects).ids, ['any'])
  assert.deepEqual(tunnelsOf({ ...problem, remoteId: 'u' }, suspects).ids, ['any'])
})
