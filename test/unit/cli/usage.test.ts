// Wrong usage: exit status 2, one line that says what and what to do, nothing on standard output.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Command } from 'commander'
import { reportError } from '../../../node/cli/errors.ts'
import { buildProgram } from '../../../node/cli/program.ts'
import { run } from './run.ts'

const WRONG: [command: string, expected: RegExp][] = [
  ['clinet list', /unknown command 'clinet'; did you mean client\?/],
  ['client', /client needs a sub-command: add, list, show/],
  ['client ad web', /unknown command 'ad'; did you mean add\?/],
  ['status --jsn', /unknown option '--jsn'; did you mean --json\?/],
  ['status extra', /too many arguments for 'status'/],
  ['client add', /missing required argument 'name'; see `overmesh help client add`/],
  ['client add Web', /'Web' is not a name; use up to 63 lower-case letters/],
  ['client add ../web', /is not a name/],
  [
    'client add a.',
    /the client name 'a\.' is no name that DNS can carry; write no dot at its end and no two/,
  ],
  ['client add a..b', /'a\.\.b' is no name that DNS can carry/],
  ['client add web --ip 10.77.0', /--ip: '10.77.0' is not an IPv4 address/],
  ['client add web --ip 10.77.0.1/16', /--ip: .* without a prefix length/],
  ['client add web --ip 010.77.0.1', /not an IPv4 address/],
  ['client add web --subnet 10.0.0.1/8', /has bits set beyond its prefix length; did you mean 10.0.0.0\/8\?/],
  ['client add web --subnet 10.0.0.0/33', /'10.0.0.0\/33' is not a prefix/],
  ['client add web --subnet 10.0.0.0', /is not a prefix/],
  ['client add web --tag site', /--tag: 'site' is not KEY=VALUE/],
  ['client add web --tag =x', /is not KEY=VALUE/],
  ['client add web --tag a/b=1', /the key 'a\/b' is not up to 63 letters, digits, '\.', '_' and '-'/],
  ['client add web --tag a=1 --tag a=2', /the key 'a' is given twice/],
  ['client add web --days 0', /--days: '0' is not a whole number from 1 to 36500/],
  ['client add web --days 1e3', /not a whole number/],
  ['client add web --force', /give --out FILE/],
  ['client add web --out', /argument missing/],
  ['route add 192.168.5.0/24', /required option '--via <next hop>' not specified/],
  ['route add 192.168.5.0/24 --via site', /--via: 'site' is no next hop; use client:NAME, controller:NAME/],
  [
    'route add 192.168.5.0/24 --via internet --metric 70000',
    /--metric: '70000' is not a whole number from 0/,
  ],
  [
    'route add 192.168.5.0/24 --via internet --probe gw',
    /--probe: 'gw' is neither an IPv4 nor an IPv6 address/,
  ],
  ['route updates soon', /when: 'soon' is not a whole number from 0 to 86400/],
  ['client refresh', /name clients, or give --all/],
  ['client refresh web --all', /name clients, or give --all/],
  ['client refresh Web', /is not a name/],
  ['client pack web --format exe', /--format: 'exe' is not one of ovpn, p12, zip/],
  ['client pack web --seal --format p12', /--seal makes a zip, not p12/],
  ['client pack web --seal-allow tcp/22', /--seal-allow excepts something from a seal; add --seal/],
  ['client add web --seal --seal-allow ssh', /--seal-allow ssh: not understood; use tcp\/22/],
  ['client pack web --password-file x', /add --format p12/],
  ['init --name x', /required option '--subnet <cidr>' not specified/],
  ['init --name X --subnet 10.77.0.0/16', /--name 'X' is not a name/],
  ['init --name prod. --subnet 10.77.0.0/16', /--name 'prod\.' is no name that DNS can carry/],
  ['init --name x --subnet 10.77.0.0/16 --controller a..b', /--controller 'a\.\.b' is no name that DNS/],
  [
    'init --name x --subnet 10.77.0.0/16 --subnet 10.78.0.0/16',
    /--subnet is given twice, and takes one value/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --subnet6 fd00::/64 --subnet6=fd01::/64', /--subnet6 is given twice/],
  ['probe x.ovpn --ping 10.77.0.1 --ping 10.77.0.2', /--ping is given twice/],
  ['capture --client web --client db', /--client is given twice/],
  ['init --name x --subnet 10.77.1.0/16', /did you mean 10.77.0.0\/16\?/],
  [
    'init --name x --subnet 10.77.0.0/16 --listen 1194',
    /--listen: '1194' has no address; write ADDRESS:PORT, such as 0\.0\.0\.0:1194 for all/,
  ],
  [
    'init --name x --subnet 10.77.0.0/16 --listen :1195',
    /':1195' has no address; .* 0\.0\.0\.0:1195 for all/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --listen *:1195', /has no address; .* 0\.0\.0\.0:1195 for all/],
  [
    'init --name x --subnet 10.77.0.0/16 --listen 224.0.0.5:1194',
    /--listen: 224\.0\.0\.5 is a multicast address/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --listen 255.255.255.255:1194', /is the broadcast address; give an/],
  ['init --name x --subnet 10.77.0.0/16 --listen [ff02::1]:1194', /--listen: ff02::1 is a multicast address/],
  ['init --name x --subnet 10.77.0.0/16 --mesh-listen 240.0.0.1:4001', /240\.0\.0\.1 is a reserved address/],
  [
    'init --name x --subnet 10.77.0.0/16 --public http://x',
    /--public: 'http:\/\/x' is a URL; leave out 'http:\/\/' and write HOST:PORT, such as x:1194/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --public udp://x.example:99/y', /is a URL; .* such as x\.example:99/],
  [
    'init --name x --subnet 10.77.0.0/16 --public 1194',
    /'1194' has no host; .* such as vpn\.example\.com:1194/,
  ],
  [
    'init --name x --subnet 10.77.0.0/16 --public 0.0.0.0',
    /--public: 0\.0\.0\.0 is where to listen, not an address to dial; give .* --public vpn\.example\.com:1194/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --public [::]:1194', /--public: :: is where to listen/],
  ['init --name x --subnet 10.77.0.0/16 --public 239.1.2.3', /--public: 239\.1\.2\.3 is a multicast address/],
  ['init --name x --subnet 10.77.0.0/16 --public 255.255.255.255', /is the broadcast address/],
  ['init --name x --subnet 10.77.0.0/16 --public [fe80::1]', /is a link-local address, which means nothing/],
  [
    'init --name x --subnet 10.77.0.0/16 --public 10.77.0.9',
    /cannot dial this controller: 10\.77\.0\.9 is in the overlay's own 10\.77\.0\.0\/16, which is there only for/,
  ],
  ['join om1-x --public 0.0.0.0', /--public: 0\.0\.0\.0 is where to listen/],
  ['restore x.backup --public 224.0.0.1', /--public: 224\.0\.0\.1 is a multicast address/],
  ['init --name x --subnet 10.77.0.0/16 --listen 0.0.0.0', /'0.0.0.0' has no port; write ADDRESS:PORT/],
  ['init --name x --subnet 10.77.0.0/16 --listen localhost:1194', /is a name; give an address/],
  [
    'init --name x --subnet 10.77.0.0/16 --subnet6 10.78.0.0/16',
    /--subnet6: '10.78.0.0\/16' is not an IPv6 prefix/,
  ],
  ['init --name x --subnet 10.77.0.0/16 --subnet6 fd00::5/64', /did you mean fd00::\/64/],
  ['init --name x --subnet 10.77.0.0/16 --listen ::1:1194', /write an IPv6 address in brackets/],
  ['init --name x --subnet 10.77.0.0/16 --public host:99999', /the port must be a number from 1 to 65535/],
  ['init --name x --subnet 10.77.0.0/16 --public -v', /--public: "-v": neither an address nor a host name/],
  ['invite --ttl 0', /--ttl: '0' is not a duration up to 30d; write it as 90s, 30m, 1h or 2d/],
  ['invite --ttl 31d', /--ttl: '31d' is not a duration up to 30d/],
  ['invite --ttl soon', /--ttl: 'soon' is not a duration/],
  ['join', /missing required argument 'token'; see `overmesh help join`/],
  ['join om1-x --mesh-listen 4001', /--mesh-listen: '4001' has no address; .* 0\.0\.0\.0:4001/],
  ['join om1-x --controller x.', /--controller 'x\.' is no name that DNS can carry/],
  ['join om1-x --controller X', /--controller 'X' is not a name/],
  ['controller', /controller needs a sub-command: list, remove/],
  ['controller remove', /missing required argument 'name'; see `overmesh help controller remove`/],
  ['controller remove ../x', /is not a name/],
  ['leave now', /too many arguments for 'leave'/],
  ['client reissue --issuer beta', /required option '--out-dir <dir>' not specified/],
  ['dns forward', /dns forward: give addresses of resolvers, or --none/],
  ['dns forward 192.0.2.53 --none', /give addresses of resolvers, or --none/],
  ['dns forward resolver.example.net', /'resolver.example.net' is no address of a resolver/],
  ['dns forward 224.0.0.1', /is no address of a resolver; write it as 192.0.2.53/],
  ['dns of', /too many arguments for 'dns'|unknown command 'of'/],
  ['token', /token needs a sub-command: add, list, revoke/],
  ['token add ci', /required option '--scope <scope>' not specified/],
  ['token add ci --scope root', /--scope: 'root' is not one of read, operate, admin/],
  ['token add CI --scope read', /'CI' is not a name/],
  ['token add ci --scope read --ttl never', /--ttl: 'never' is not a duration up to 3650d/],
  ['token add ci --scope read --force', /--force replaces a file; give --out FILE/],
  ['webhook add chat --url=', /--url is empty; write it as https:\/\/HOST\/PATH/],
  [`webhook add chat --url http://x/${'y'.repeat(3000)}`, /--url is longer than \d+ characters; write it as/],
  [
    `client revoke web --reason ${'y'.repeat(201)}`,
    /--reason is longer than the 200 characters that are kept/,
  ],
  ['token add ci --scope read --out=', /--out is empty; give a file/],
  ['token revoke', /missing required argument 'name'/],
  ['api enable', /say where by --listen, such as --listen 0.0.0.0:8443/],
  ['api enable --listen 8443', /--listen: '8443' has no address; .* 0\.0\.0\.0:8443/],
  ['api enable --listen localhost:8443', /is a name; give an address of this machine/],
  ['api ca --force', /--force replaces a file/],
  ['api on', /too many arguments for 'api'|unknown command 'on'/],
  ['up --api-listen 8443', /--api-listen: '8443' has no address/],
  ['status --api alpha:8443', /--api is no address|--api is not https/],
  ['status --api http://alpha:8443', /would send the token in clear; write https:\/\/alpha:8443/],
  ['status --api https://me:omt1_x@alpha:8443', /--api has more than https:\/\/HOST:PORT/],
  [
    'status --api https://alpha:8443?token=omt1_x',
    /--api has more than https:\/\/HOST:PORT; a token goes into a file/,
  ],
  ['status --api https://alpha:8443/x', /--api is not https:\/\/HOST:PORT/],
  ['status --api https://alpha:8443', /--api needs a token, of `overmesh token add`/],
  ['status --api https://alpha:8443 --data /x', /give one of them/],
  ['status --token-file x', /--token-file is for a controller elsewhere; name it by --api/],
  ['status --ca x', /--ca is for a controller elsewhere/],
  ['up --api https://alpha:8443', /leave out --api/],
  ['init --name x --subnet 10.77.0.0/16 --api https://alpha:8443', /leave out --api/],
  ['probe', /missing required argument 'pack'/],
  ['probe x.ovpn --ping web', /--ping: 'web' is neither an IPv4 nor an IPv6 address/],
  ['probe x.ovpn --seconds 0', /--seconds: '0' is not a number of seconds above 0/],
  ['up --log-level loud', /'loud' is not one of trace, debug/],
  ['up --json', /has no --json/],
  ['up --tun way-too-long-name', /not a name for an interface/],
  ['events --limit many', /--limit: 'many' is not a whole number/],
  ['help nothing', /there is no command 'nothing'/],
  ['--data', /argument missing/],
]

/** As `main` runs it, without the cost of a process. */
async function complaint(args: string[]): Promise<{ code: number; stderr: string }> {
  let stderr = ''
  try {
    await buildProgram().parseAsync(args, { from: 'user' })
  } catch (error) {
    const code = reportError(error, {
      write: text => {
        stderr += text
      },
    })
    return { code, stderr }
  }
  throw new Error('it was accepted')
}

for (const [command, expected] of WRONG) {
  test(`overmesh ${command.slice(0, 150)}`, async () => {
    const { code, stderr } = await complaint(command.split(' '))
    assert.match(stderr, expected)
    assert.match(stderr, /^overmesh: [^\n]+\n$/, 'one line')
    assert.equal(code, 2)
  })
}

test('as a process: one line on standard error, nothing on standard output, status 2', async () => {
  for (const args of [['clinet'], ['client', 'add', 'web', '--days', '0'], ['status', '--jsn']]) {
    const { code, stdout, stderr } = await run(args)
    assert.match(stderr, /^overmesh: [^\n]+\n$/)
    assert.equal(stdout, '')
    assert.equal(code, 2)
  }
})

test('control characters of arguments do not reach the terminal', async () => {
  const { stderr, code } = await run(['client', 'show', 'a\u001b[31m\nb\u009b'])
  assert.equal(code, 2)
  assert.match(stderr, /^overmesh: [^\u0000-\u0009\u000b-\u001f\u007f-\u009f]+\n$/)
})

test('a stack is shown only when asked for', async () => {
  const { stderr } = await run(['client', 'show', 'X'], { env: { OVERMESH_DEBUG: '1' } })
  assert.match(stderr, /\n {4}at /)
})

test('every command has help with an example that can be pasted', () => {
  const leaves: string[] = []
  const visit = (command: Command, path: string) => {
    for (const child of command.commands) visit(child, `${path} ${child.name()}`)
    if (command.commands.length > 0 && path !== 'overmesh state') return
    if (path !== 'overmesh help') leaves.push(path)
    let help = ''
    command.configureOutput({
      writeOut: text => {
        help += text
      },
    })
    if (path !== 'overmesh help') {
      command.outputHelp()
      assert.match(help, new RegExp(`Example:\n {2}(sudo )?${path}`))
    }
  }
  visit(buildProgram(), 'overmesh')
  assert.ok(leaves.length >= 20, leaves.join())
})

test('help says what holds where an option is left out', async () => {
  for (const [command, expected] of [
    ['add', /--days <n> .*from now on\s+\(default: 1825,\s+five years\)/],
    ['rekey', /--days <n> .*from now on\s+\(default: 1825,\s+five years\)/],
    ['pack', /--password-file <file> [\s\S]*without\s+it\s+the\s+password\s+is\s+empty/],
  ] as const)
    assert.match((await run(['help', 'client', command])).stdout, expected)
})

test('help goes to any depth', async () => {
  const { code, stdout } = await run(['help', 'client', 'add'])
  assert.equal(code, 0)
  assert.match(stdout, /^Usage: overmesh client add \[options\] <name>/)
  assert.match(stdout, /\n {2}overmesh client add web /)
})

test('prints its version, and help for nothing at all', async () => {
  assert.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/)
  const bare = await run([])
  assert.equal(bare.code, 0)
  assert.match(bare.stdout, /^Usage: overmesh/)
})
