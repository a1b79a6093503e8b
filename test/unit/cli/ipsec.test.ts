// Commands about attachments: what they ask the controller for, and what they print.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fakeAttachment } from '../api/fake-attachment.ts'
import { FakeService } from '../api/fake-service.ts'
import { Served } from './run.ts'

const SECRET = 'a pre-shared key that nobody guesses'

test('ipsec add hands over what was said, with the secret from its file alone', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-test-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'psk')
  writeFileSync(file, `${SECRET}\n`)
  const service = new FakeService()
  await using served = await Served.open(service)
  const all = [
    'ipsec',
    'add',
    'paris',
    '--remote',
    '198.51.100.7',
    '--psk-file',
    file,
    '--remote-ts',
    '192.168.20.0/24',
  ]
  const { code, stdout, stderr } = await served.run(...all)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^paris added.*2 of 3.*`overmesh ipsec export`/)
  await served.run(
    ...all.with(2, 'berlin'),
    ...[
      '--local-ts',
      '10.77.0.0/16',
      '--local-ts',
      '192.168.20.0/24',
      '--initiate',
      '--controllers',
      'alpha,beta',
    ],
    ...['--local-id', 'hub', '--remote-id', 'spoke', '--ike', '1', '--ike-proposal', 'aes256-sha256-ecp256'],
    ...['--esp-proposal', 'aes256gcm16', '--dpd', '2', '--ike-lifetime', '7200', '--lifetime', '1800'],
    ...['--nat-t', 'always'],
  )
  const secret = Buffer.from(SECRET).toString('base64')
  const common = { remote: '198.51.100.7', secret, remoteSubnets: ['192.168.20.0/24'] }
  assert.deepEqual(service.calls, [
    ['addAttachment', { ...common, name: 'paris', localSubnets: [(await service.status()).mesh.subnet] }],
    [
      'addAttachment',
      {
        ...common,
        name: 'berlin',
        localSubnets: ['10.77.0.0/16', '192.168.20.0/24'],
        localId: 'hub',
        remoteId: 'spoke',
        ikeVersion: 1,
        ikeProposals: ['aes256-sha256-ecp256'],
        espProposals: ['aes256gcm16'],
        dpdSeconds: 2,
        ikeLifetimeSeconds: 7200,
        childLifetimeSeconds: 1800,
        initiate: true,
        natTraversal: 'always',
        controllers: ['alpha', 'beta'],
      },
    ],
  ])
  // What some editors put before text is no part of it, and other bytes are their own.
  for (const [bytes, key] of [
    [`\ufeff${SECRET}\r\n`, Buffer.from(SECRET)],
    [Buffer.from([0xef, 0xbb, 0x80]), Buffer.from([0xef, 0xbb, 0x80])],
  ] as const) {
    writeFileSync(join(directory, 'other'), bytes)
    assert.equal((await served.run('ipsec', 'set', 'paris', '--psk-file', join(directory, 'other'))).code, 0)
    const [, , { secret }] = service.calls.at(-1) as [string, string, { secret: string }]
    assert.deepEqual(Buffer.from(secret, 'base64'), key)
  }
  const out = join(directory, 'site.conf')
  const exported = await served.run('ipsec', 'export', 'paris', '--psk-file', file, '--out', out)
  assert.equal(exported.code, 0, exported.stderr)
  assert.equal(readFileSync(out, 'utf8'), `secret = 0s${secret}\n`)
  assert.equal(statSync(out).mode & 0o777, 0o600)
  const again = await served.run('ipsec', 'export', 'paris', '--out', out)
  assert.equal(again.code, 1)
  assert.match(again.stderr, /exists/)
  assert.equal((await served.run('ipsec', 'export', 'paris', '--out', out, '--force')).code, 0)
})

test('wrong usage is told before anything is done', async t => {
  const service = new FakeService()
  await using served = await Served.open(service)
  service.sites.set(
    'paris',
    fakeAttachment({ name: 'paris', remote: 'any', localSubnets: [], remoteSubnets: [] }),
  )
  const directory = mkdtempSync(join(tmpdir(), 'overmesh-test-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const [one, two] = [join(directory, 'one'), join(directory, 'two')]
  writeFileSync(one, 'a key\n')
  writeFileSync(two, 'a key\nand another\n')
  const base = ['ipsec', 'add', 'paris', '--remote', '198.51.100.7']
  for (const [args, words] of [
    [base, /--remote-ts/],
    [[...base, '--remote-ts', '192.168.20.0/24'], /--psk-file FILE or --ca-file/],
    [[...base, '--remote-ts', '192.168.20.1/24'], /did you mean 192\.168\.20\.0\/24/],
    [
      [...base, '--remote-ts', '192.168.20.0/24', '--psk-file', '/nowhere'],
      /cannot read the pre-shared key \(ENOENT\)/,
    ],
    [[...base, '--remote-ts', '192.168.20.0/24', '--psk-file', '/dev/null'], /it is empty/],
    [[...base, '--remote-ts', '192.168.20.0/24', '--psk-file', '/dev/zero'], /too large/],
    [[...base, '--ike', '3'], /--ike/],
    [[...base, '--controllers', 'alpha,'], /--controllers: 'alpha,' has an empty entry/],
    [['ipsec', 'add', 'Paris!', '--remote', 'x'], /not a name/],
    [[...base, '--nat-t', 'never'], /--nat-t: 'never' is not one of auto, always/],
    [['ipsec', 'set', 'paris'], /name what is to change/],
    [['ipsec', 'export', 'paris', '--format', 'pdf'], /no format/],
    [['ipsec', 'export', 'paris', '--psk-file', two], /several lines/],
    [['ipsec', 'export', 'paris', '--psk-file', one, '--format', 'sheet'], /no place for a pre-shared key/],
  ] as const) {
    const { code, stderr } = await served.run(...args)
    assert.equal(code, 2, stderr)
    assert.match(stderr, words)
  }
  assert.deepEqual(service.calls, [])
})

test('list and show say in words how it stands', async () => {
  const service = new FakeService()
  const site = fakeAttachment({
    name: 'paris',
    remote: 'any',
    localSubnets: ['10.77.0.0/16'],
    remoteSubnets: ['192.168.20.0/24'],
  })
  const at = '2026-01-02T03:04:05.678Z'
  service.sites.set('paris', {
    ...site,
    problem: { at, text: 'no answer from the peer', controller: 'beta' },
  })
  service.sites.set('berlin', { ...site, name: 'berlin', state: 'up', controller: 'beta', since: at })
  await using served = await Served.open(service)
  const { stdout } = await served.run('ipsec', 'list')
  assert.match(stdout, /paris +any +192\.168\.20\.0\/24 +site .*down: no answer from the peer/)
  assert.match(stdout, /berlin .*up on beta/)
  const shown = await served.run('ipsec', 'show', 'paris')
  assert.match(shown.stdout, /last problem +no answer from the peer \(.* seen by beta\)/)
  assert.equal((await served.run('ipsec', 'show', 'lyon')).code, 1)
  assert.match((await served.run('ipsec', 'down', 'paris')).stdout, /paris: disabled/)
  assert.match((await served.run('ipsec', 'remove', 'paris')).stdout, /paris removed/)
})
