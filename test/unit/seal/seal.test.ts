// What a sealed host is given: its ruleset as nft reads it, names of controllers, exceptions, systemd units.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { exceptionProblem, parseException } from '../../../node/seal/exceptions.ts'
import { sealFiles } from '../../../node/seal/files.ts'
import { sealNames, sealRuleset } from '../../../node/seal/ruleset.ts'

const CONTROLLERS = [
  { host: '192.0.2.1', port: 1194 },
  { host: '2001:db8::1', port: 1195 },
  { host: 'vpn.example.net', port: 443 },
]

const allowing = (...texts: string[]): string =>
  sealRuleset({ controllers: CONTROLLERS, allow: texts.map(text => parseException(text)!) })

/** The rules of one chain. */
function chain(ruleset: string, name: string): string[] {
  const [, body] = new RegExp(`chain ${name} \\{\\n([^]*?)\\n  \\}`).exec(ruleset)!
  return body.split('\n').map(line => line.trim())
}

test('every controller is open at its port and no other; names are left to the script', () => {
  const ruleset = allowing()
  assert.match(ruleset, /set controllers4 \{[^}]*elements = \{ 192\.0\.2\.1 \. 1194 \}/)
  assert.match(ruleset, /set controllers6 \{[^}]*elements = \{ 2001:db8::1 \. 1195 \}/)
  assert.doesNotMatch(ruleset, /example/)
  assert.equal(sealNames(CONTROLLERS), 'vpn.example.net 443\n')
  for (const name of ['in', 'through', 'out']) {
    const rules = chain(ruleset, name)
    assert.match(rules[0], /policy drop;$/)
    assert.equal(rules.at(-1), 'counter comment "refused"')
  }
  assert.deepEqual(chain(ruleset, 'through').length, 2)
})

test('multicast listeners are asked by the link, and answer in both versions', () => {
  const ruleset = allowing()
  // Of either version queries are of one type; what hosts answer is of two.
  assert.ok(
    chain(ruleset, 'in').includes('ip6 saddr fe80::/10 ip6 hoplimit 1 icmpv6 type mld-listener-query accept'),
  )
  const answers = chain(ruleset, 'out').find(rule => rule.includes('mld'))
  assert.match(
    answers!,
    /^ip6 hoplimit 1 icmpv6 type \{ mld-listener-report, .*, mld2-listener-report \} accept$/,
  )
})

test('an exception is open to whom and for what it names, and begun from one end only', () => {
  const cases: [string, string[], string[]][] = [
    ['tcp/22', ['tcp dport 22 accept'], ['tcp sport 22 ct direction reply accept']],
    [
      'udp/5000-5010@192.0.2.0/24',
      ['ip saddr 192.0.2.0/24 udp dport 5000-5010 accept'],
      ['ip daddr 192.0.2.0/24 udp sport 5000-5010 ct direction reply accept'],
    ],
    [
      'out:udp/53@192.0.2.53',
      ['ip saddr 192.0.2.53/32 udp sport 53 ct direction reply accept'],
      ['ip daddr 192.0.2.53/32 udp dport 53 accept'],
    ],
    ['tcp/80@2001:db8::/32', ['ip6 saddr 2001:db8::/32 tcp dport 80 accept'], []],
    ['icmp@10.0.0.0/8', ['ip saddr 10.0.0.0/8 icmp type { echo-request, echo-reply } accept'], []],
    ['10.1.0.0/16', ['ip saddr 10.1.0.0/16 accept'], ['ip daddr 10.1.0.0/16 accept']],
  ]
  const plain = allowing()
  for (const [text, incoming, outgoing] of cases) {
    const ruleset = allowing(text)
    const added = (name: string) => chain(ruleset, name).filter(rule => !chain(plain, name).includes(rule))
    assert.deepEqual(added('in'), incoming, text)
    if (outgoing.length > 0) assert.deepEqual(added('out'), outgoing, text)
    assert.equal(added('through').length, text.startsWith('10.1') ? 2 : 0, text)
  }
})

test('what is no exception is none', () => {
  const wrong = [
    '',
    'ssh',
    'tcp',
    'tcp/0',
    'tcp/65536',
    'tcp/22-21',
    'tcp/22@',
    'tcp/22@10.0.0.1/8',
    '0.0.0.0/0',
  ]
  const more = [
    '::/0',
    '2001:db8::1/64',
    'out:icmp',
    'tcp/22 accept',
    '10.0.0.0/8; accept',
    'TCP/22',
    'udp/22@x',
  ]
  for (const text of [...wrong, ...more]) {
    assert.equal(parseException(text), undefined, text)
    assert.notEqual(exceptionProblem(text), '')
  }
})

test('a prefix that is to blame is said to be', () => {
  assert.match(
    exceptionProblem('tcp/22@192.0.2.5/24'),
    /^192\.0\.2\.5\/24 names a host; the prefix is 192\.0\.2\.0\/24$/,
  )
  assert.match(exceptionProblem('2001:db8::1/64'), /the prefix is 2001:db8::\/64$/)
  assert.match(exceptionProblem('tcp/22@0.0.0.0/0'), /^without @0\.0\.0\.0\/0 it is open to everyone$/)
  assert.match(exceptionProblem('::/0'), /not sealed$/)
  for (const text of ['tcp/0@192.0.2.0/24', 'ssh', 'tcp/22@x'])
    assert.match(exceptionProblem(text), /^use tcp\/22, /)
})

test('nft takes the ruleset, sh the script and systemd the units', t => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-seal-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const allow = [
    'tcp/22',
    'udp/1-9@192.0.2.0/24',
    'out:tcp/443@2001:db8::1',
    'icmp',
    '10.0.0.0/8',
    'fd00::/8',
  ]
  const files = sealFiles(
    CONTROLLERS,
    allow.map(text => parseException(text)!),
  )
  for (const [name, { content }] of Object.entries(files)) writeFileSync(join(directory, name), content)
  execFileSync('sh', ['-n', join(directory, 'seal')])
  // As root only: nft asks the kernel. The lab loads it for good.
  if (process.getuid?.() === 0) execFileSync('nft', ['-c', '-f', join(directory, 'overmesh-seal.nft')])
  for (const name of Object.keys(files).filter(each => /\.(service|timer)$/.test(each))) {
    assert.match(files[name].content, /^\[Unit\]\nDescription=/)
    assert.doesNotMatch(files[name].content, /undefined/)
  }
  // Else systemd takes up to a minute more.
  assert.match(files['overmesh-seal-refresh.timer'].content, /^OnUnitActiveSec=60\nAccuracySec=1s$/m)
  assert.match(files['overmesh-seal.service'].content, /^Before=network-pre\.target/m)
})
