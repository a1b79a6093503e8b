// docker-compose.mesh.yml as the README has it, and what happens to containers after that.
import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Status } from '../../node/service.ts'
import { attempt, run } from '../lab/command.ts'
import { NODE } from '../lab/controller.ts'
import { until } from '../lab/lab.ts'
import { Engine, TOP } from './engine.ts'

const CONTROLLERS = ['eu', 'us', 'asia']
const say = (line: string): void => void process.stdout.write(`${line}\n`)

describe('the mesh of docker-compose.mesh.yml', () => {
  let engine: Engine
  let composeCommand: string[]

  before(async () => {
    engine = await Engine.open(say)
    // Beside whatever runs on an engine that is not ours.
    engine.env.COMPOSE_PROJECT_NAME = `overmesh-test-${process.pid}`
    const plugin = await attempt(['docker', 'compose', 'version'], { env: engine.env })
    composeCommand = [...(plugin.code === 0 ? ['docker', 'compose'] : ['docker-compose']), '-f']
    say(`images built in ${(await engine.buildImages(say)).toFixed(0)} s`)
  })
  after(async () => {
    if (!engine) return
    await compose('down', '--volumes', '--timeout', '20').catch(error => say(error.message))
    await engine.close()
  })

  const compose = (...args: string[]): Promise<string> =>
    engine.run(...composeCommand, 'docker-compose.mesh.yml', ...args)
  const exec = (service: string, ...argv: string[]): Promise<string> =>
    compose('exec', '-T', service, ...argv)
  const status = async (service: string): Promise<Status> =>
    JSON.parse(await exec(service, 'overmesh', 'status', '--json'))
  const container = async (service: string): Promise<string> => (await compose('ps', '-q', service)).trim()
  const health = async (service: string): Promise<string> =>
    (await engine.run('docker', 'inspect', '-f', '{{.State.Health.Status}}', await container(service))).trim()
  const allHealthy = (services: readonly string[]): Promise<number> =>
    until(
      `${services.join(', ')} are healthy`,
      async () => (await Promise.all(services.map(health))).every(each => each === 'healthy'),
      90,
      1,
    )
  const pings = (from: string, to: string): Promise<number> =>
    until(
      `${from} reaches ${to}`,
      async () =>
        (
          await engine.attempt([
            ...[...composeCommand, 'docker-compose.mesh.yml', 'exec', '-T', from],
            ...['ping', '-c', '1', '-W', '2', `${to}.prod.internal`],
          ])
        ).code === 0,
      20,
      0.5,
    )

  test('the tour: up from nothing, pings across regions, a controller killed and replaced', async () => {
    const { code, stdout, stderr } = await engine.attempt(['deploy/docker/tour.sh', '--no-build'], 300_000)
    say(stdout)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^db is on asia$/m)
    assert.match(stdout, /^db was out of reach for [\d.]+ s\ndb is on (eu|us)$/m)
  })

  test('nothing runs as root, files are the owner’s alone, and no compiler is there', async () => {
    const processes = await engine.run('docker', 'top', await container('eu'), '-eo', 'pid,uid,args')
    assert.match(processes, /^ *\d+ +10001 +.*overmesh\.js up/m)
    assert.doesNotMatch(processes, /^ *\d+ +0 /m)
    assert.equal(await exec('eu', 'find', '/var/lib/overmesh', '/rendezvous', '/packs', '-perm', '/077'), '')
    assert.equal((await exec('eu', 'stat', '-c', '%a', '/packs/web.ovpn')).trim(), '600')
    const tools = await exec(
      'eu',
      'sh',
      '-c',
      'for each in cc gcc g++ make npm python3; do command -v $each; done; true',
    )
    assert.equal(tools, '')
    assert.match((await status('eu')).controller.tun ?? '', /^overmesh/, 'it has its interface')
  })

  test('a controller in a container can carry IPsec', async () => {
    const add = 'overmesh ipsec add site --remote any --psk-file - --remote-ts 192.168.20.0/24'
    await exec('eu', 'sh', '-c', `echo a-long-pre-shared-key | ${add}`)
    // Its IKE daemon runs, under the controller's own user, and holds what was added.
    await until('the IKE daemon runs', async () =>
      (await engine.run('docker', 'top', await container('eu'), '-eo', 'pid,uid,args')).includes('charon'),
    )
    await until('it is ready for the site', async () =>
      (await exec('eu', 'overmesh', 'ipsec', 'show', 'site')).includes('running, ESP by'),
    )
    await exec('eu', 'overmesh', 'ipsec', 'remove', 'site')
  })

  test('a container without a mesh says what to set', async () => {
    const result = await engine.attempt(['docker', 'run', '--rm', '--network', 'none', 'overmesh:local'])
    assert.equal(result.code, 2)
    assert.match(
      result.stderr,
      /is empty; set OVERMESH_MESH and OVERMESH_SUBNET to found a mesh, or OVERMESH_JOIN/,
    )
  })

  test('one container, as deploy/README.md has it', async () => {
    const page = readFileSync(join(TOP, 'deploy/README.md'), 'utf8')
    const [, block] = /```sh elsewhere\n(docker build[\s\S]*?)```/.exec(page)!
    const [, copying] = /```sh elsewhere\n(docker exec -i berlin overmesh backup[\s\S]*?)```/.exec(page)!
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-one-'))
    // The image is there already; and it is not to listen on this machine.
    const script = block
      .replace(/^docker build .*$/m, 'docker tag overmesh:local overmesh')
      .replace('--network host', '--network none')
      .replaceAll(
        'docker exec berlin',
        'until docker exec berlin overmesh status >/dev/null 2>&1; do sleep 0.2; done; docker exec berlin',
      )
    try {
      const { code, stdout, stderr } = await attempt(['timeout', '60', 'sh', '-euc', script], {
        env: engine.env,
        cwd: directory,
      })
      assert.equal(code, 0, stderr)
      assert.match(stdout, /^om1-\S+$/m)
      assert.match(readFileSync(join(directory, 'web.ovpn'), 'utf8'), /^remote vpn\.example\.net 1194/m)
      writeFileSync(join(directory, 'pass'), 'a passphrase\n', { mode: 0o600 })
      const copied = await attempt(
        ['sh', '-euc', copying.replaceAll('docker run', 'docker run --network none')],
        {
          env: engine.env,
          cwd: directory,
        },
      )
      assert.equal(copied.code, 0, copied.stderr)
      assert.match(copied.stdout, /^\S+ of mesh prod is in \/var\/lib\/overmesh, as of 20/m)
      // A token that is its owner's alone; from where it is tried nobody is reached.
      writeFileSync(join(directory, 'token'), /^om1-\S+$/m.exec(stdout)![0], { mode: 0o600 })
      const joining = ['-v', `${directory}/token:/token:ro`, '-e', 'OVERMESH_JOIN_TOKEN_FILE=/token']
      const alone = await engine.attempt([
        'docker',
        'run',
        '--rm',
        '--network',
        'none',
        ...joining,
        'overmesh',
      ])
      assert.notEqual(alone.code, 0)
      assert.match(alone.stderr, /vpn\.example\.net:4001/)
    } finally {
      await engine.attempt(['docker', 'rm', '--force', '--volumes', 'berlin'])
      await engine.attempt(['docker', 'volume', 'rm', 'overmesh', 'overmesh-2'])
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('install.sh: once, again, with another version, and away', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-install-'))
    try {
      await run(['npm', 'pack', '--silent', '--pack-destination', directory], { cwd: TOP, timeout: 200_000 })
      copyFileSync(realpathSync(NODE), join(directory, 'node'))
      const out = await engine.inDebian(
        `mkdir /tmp/pack && cp /pack/* /tmp/pack && chmod +x /tmp/pack/node
        install() { /deploy/install.sh --package /tmp/pack/overmesh-*.tgz --node /tmp/pack/node; }
        install
        overmesh init --name prod --subnet 10.77.0.0/16 --public 192.0.2.1 >/dev/null
        first=$(readlink /opt/overmesh/current)
        install
        test "$(readlink /opt/overmesh/current)" = "$first" && echo same
        cd /tmp/pack && mkdir app && tar -xzf overmesh-*.tgz -C app && touch app/package/newer && rm overmesh-*.tgz
        tar -czf overmesh-next.tgz -C app package && cd /
        install
        test "$(readlink /opt/overmesh/current)" != "$first" && test -d /opt/overmesh/$first && echo other
        test -L /etc/systemd/system/multi-user.target.wants/overmesh.service
        overmesh --version
        /deploy/install.sh --uninstall
        ls /opt /usr/local/bin
        test -f /var/lib/overmesh/config.json
        /deploy/install.sh --uninstall --purge
        test ! -e /var/lib/overmesh`,
        { [join(TOP, 'deploy')]: '/deploy', [directory]: '/pack' },
      )
      assert.match(out, /\nsame\n.*\nother\n\d+\.\d+\.\d+\nremoved; its data stays/s)
      assert.doesNotMatch(out, /^overmesh$/m)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('overmesh.service: ready when clients can connect, started anew, drained by a stop', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-service-'))
    let machine = ''
    try {
      await run(['npm', 'pack', '--silent', '--pack-destination', directory], { cwd: TOP, timeout: 200_000 })
      copyFileSync(realpathSync(NODE), join(directory, 'node'))
      machine = await engine.bootDebian({ [join(TOP, 'deploy')]: '/deploy', [directory]: '/pack' })
      const on = (script: string): Promise<string> =>
        engine.run('docker', 'exec', '--workdir', '/root', machine, 'sh', '-euc', script)
      await until(
        'systemd is up',
        async () => /running|degraded/.test(await on('systemctl is-system-running || true')),
        60,
      )
      const version = (await run([NODE, join(TOP, 'node/cli/overmesh.js'), '--version'])).trim()
      await on(`cd / && deploy/install.sh --package /pack/overmesh-${version}.tgz --node /pack/node`)
      // As docs/install.md has it; a controller that was not made is no failure of the service.
      await on('systemctl start overmesh')
      assert.match(await on('systemctl is-active overmesh || true'), /^inactive$/m)
      await on('overmesh init --name prod --subnet 10.77.0.0/16 --public vpn.example.net')
      await on('systemctl start overmesh')
      const pid = (await on('systemctl show -p MainPID --value overmesh')).trim()
      assert.equal(
        (await on('overmesh status --json | grep -c overmesh0')).trim(),
        '1',
        'it has its interface at once',
      )

      await on('overmesh client add web --out web.ovpn')
      // As docs/clients.md has it.
      await on('cp web.ovpn /etc/openvpn/client/web.conf && systemctl enable --now openvpn-client@web')
      const connected = async (): Promise<boolean> =>
        JSON.parse(await on('overmesh sessions --json')).length === 1
      await until('the client is connected', connected, 20)
      await on('ping -c 2 10.77.0.1')

      await on('overmesh route add 203.0.113.0/24 --via internet')
      await until('its kernel carries routes', async () =>
        (await on('nft list tables')).includes('overmesh-'),
      )
      await on(`kill -9 ${pid}`)
      await until('it was started anew, and its client is back', () => connected().catch(() => false), 30)
      assert.notEqual((await on('systemctl show -p MainPID --value overmesh')).trim(), pid)

      await on('systemctl stop overmesh')
      assert.match(await on('systemctl show -p Result overmesh'), /=success/)
      assert.match(await on('journalctl -u overmesh --no-pager'), /draining: clients are sent/)
      assert.equal(await on('nft list tables'), '')
      assert.doesNotMatch(await on('ip -o link'), /overmesh0/)
    } finally {
      if (machine !== '') await engine.attempt(['docker', 'rm', '--force', '--volumes', machine])
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('all are stopped and started: the same controllers, records and packs', async () => {
    const before = await status('us')
    const pack = await exec('web', 'sha256sum', '/packs/web.ovpn')
    await compose('restart', '--timeout', '20')
    await allHealthy([...CONTROLLERS, 'web', 'db'])
    await pings('web', 'db')
    const now = await status('us')
    assert.equal(now.controller.id, before.controller.id)
    assert.equal(now.controllers.length, before.controllers.length)
    assert.equal(await exec('web', 'sha256sum', '/packs/web.ovpn'), pack)
  })

  test('the founder, too, is replaced: another one invites', async () => {
    const founder = (await exec('asia', 'cat', '/rendezvous/founder')).trim()
    // Nobody is the founder of a mesh twice, also where its place was taken by another in the tour.
    const victim = founder === 'asia' ? 'us' : founder
    const others = CONTROLLERS.filter(each => each !== victim)
    const uptimes = await Promise.all(others.map(async each => (await status(each)).controller.uptimeSeconds))
    await compose('kill', victim)
    await compose('rm', '--force', '--stop', victim)
    await engine.run('docker', 'volume', 'rm', `${engine.env.COMPOSE_PROJECT_NAME}_${victim}`)
    await compose('up', '--detach', '--no-build', '--no-deps', victim)
    await allHealthy(CONTROLLERS)
    await pings('web', 'db')
    const replaced = await status(victim)
    assert.equal(replaced.controller.name, `${victim}-2`)
    assert.equal(replaced.controllers.filter(({ link, self }) => self || link.up).length, 3)
    for (const [index, each] of others.entries()) {
      const { uptimeSeconds } = (await status(each)).controller
      assert.ok(uptimeSeconds > uptimes[index], `${each} was not touched`)
    }
  })
})
