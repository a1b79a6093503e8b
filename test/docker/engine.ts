// A Docker engine for the tests: the one that runs here or, as root on Debian, one of their own in a temporary directory
// that touches neither the machine's network nor its rules, and leaves nothing.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { attempt, type CommandResult, run } from '../lab/command.ts'
import { NODE } from '../lab/controller.ts'
import { until } from '../lab/lab.ts'
import { installPackages, missingPackages } from '../requirements.ts'

const PACKAGES = [
  { name: 'docker.io', command: 'dockerd', use: 'the engine' },
  { name: 'docker-compose', command: 'docker-compose', use: 'the mesh of docker-compose.mesh.yml' },
  { name: 'debootstrap', command: 'debootstrap', use: 'a Debian to build on' },
] as const

/** Of the base images, where the Dockerfile's own cannot be fetched. */
const DEBIAN = 'overmesh-test/debian'
const NODE_IMAGE = 'overmesh-test/node'
/** What Dockerfile names. */
const BASE_IMAGES = ['debian:bookworm-slim', 'node:24-bookworm-slim']
export const TOP = join(import.meta.dirname, '../..')
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

/** There is no engine and none can be started; the message says what is missing. */
export class NoEngine extends Error {
  override name = 'NoEngine'
}

export class Engine {
  readonly env: NodeJS.ProcessEnv
  readonly #directory: string | undefined
  readonly #daemon: ChildProcess | undefined
  /** An engine without a bridge fetches by the machine's own network. */
  readonly #network: string[]
  #debian = BASE_IMAGES[0]

  private constructor(env: NodeJS.ProcessEnv, directory?: string, daemon?: ChildProcess) {
    this.env = env
    this.#directory = directory
    this.#daemon = daemon
    this.#network = daemon ? ['--network', 'host'] : []
  }

  /** @throws NoEngine */
  static async open(say: (line: string) => void): Promise<Engine> {
    const running = await answers(process.env)
    if (running && (await hasCompose())) return new Engine(process.env)
    const missing = missingPackages(PACKAGES)
    if (process.getuid?.() !== 0) {
      const what = missing.map(({ name, use }) => `${name} (${use})`).join(', ')
      throw new NoEngine(
        `no Docker engine answers, and starting one takes root${what && `; these Debian packages are missing: ${what}`}`,
      )
    }
    try {
      installPackages(missing, say)
    } catch (error) {
      throw new NoEngine((error as Error).message)
    }
    return (await answers(process.env)) ? new Engine(process.env) : await Engine.#start(say)
  }

  static async #start(say: (line: string) => void): Promise<Engine> {
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-docker-'))
    const log = openSync(join(directory, 'log'), 'w')
    const socket = `unix://${directory}/docker.sock`
    // Networks of its own are bridges between containers, and nothing more: no default bridge, no rules, no forwarding.
    const daemon = spawn(
      'dockerd',
      [
        ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
        ...['--pidfile', join(directory, 'pid'), '--host', socket, '--bridge', 'none'],
        ...['--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
      ],
      { stdio: ['ignore', log, log] },
    )
    closeSync(log)
    const engine = new Engine({ ...process.env, DOCKER_HOST: socket }, directory, daemon)
    say('starting a Docker engine')
    try {
      await until(
        'the Docker engine answers',
        async () => daemon.exitCode !== null || (await answers(engine.env)),
        60,
      )
      if (daemon.exitCode !== null) throw new Error('the Docker engine ended')
      return engine
    } catch (error) {
      const words = readFileSync(join(directory, 'log'), 'utf8').trimEnd().split('\n').slice(-10).join('\n')
      await engine.close()
      throw new NoEngine(`${(error as Error).message}; dockerd said:\n${words}`)
    }
  }

  /** Runs commands in a new Debian that reaches the package registries; what is at `mounts` on this machine is there, too. */
  async inDebian(script: string, mounts: Record<string, string>): Promise<string> {
    const volumes = Object.entries(mounts).flatMap(([from, to]) => ['--volume', `${from}:${to}:ro`])
    const argv = ['docker', 'run', '--rm', ...this.#network, ...volumes, this.#debian, 'sh', '-euc', script]
    const { code, stdout, stderr } = await this.attempt(argv, 300_000)
    if (code !== 0) throw new Error(`exit ${code}\n${stdout}${stderr}`)
    return stdout
  }

  /**
   * Starts a Debian that systemd runs, with what `install.sh` asks for and a stock client, and without a network.
   * @returns the name of its container, to be removed by the caller
   */
  async bootDebian(mounts: Record<string, string>): Promise<string> {
    const image = 'overmesh-test/systemd'
    const context = mkdtempSync(join(tmpdir(), 'overmesh-systemd-'))
    try {
      const packages = 'systemd systemd-sysv dbus iproute2 nftables openvpn iputils-ping'
      writeFileSync(
        join(context, 'Dockerfile'),
        `FROM ${this.#debian}\nRUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${packages}\n`,
      )
      await this.#build(context, image)
    } finally {
      rmSync(context, { recursive: true, force: true })
    }
    const name = `overmesh-systemd-${process.pid}`
    const volumes = Object.entries(mounts).flatMap(([from, to]) => ['--volume', `${from}:${to}:ro`])
    await this.run(
      ...['docker', 'run', '--detach', '--name', name, '--network', 'none', '--device', '/dev/net/tun'],
      // What systemd needs to keep house in a container.
      ...[
        '--cap-add',
        'SYS_ADMIN',
        '--cap-add',
        'NET_ADMIN',
        '--cgroupns',
        'host',
        '--env',
        'container=docker',
      ],
      ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined'],
      ...['--volume', '/sys/fs/cgroup:/sys/fs/cgroup:rw', '--tmpfs', '/run:exec', '--tmpfs', '/run/lock'],
      ...['--sysctl', 'net.ipv4.ip_forward=1', '--add-host', 'vpn.example.net:127.0.0.1', ...volumes],
      ...[image, '/lib/systemd/systemd'],
    )
    return name
  }

  /** Builds what docker-compose.mesh.yml runs; returns how long that took, in seconds. */
  async buildImages(say: (line: string) => void): Promise<number> {
    const started = performance.now()
    const args = (await this.#hasBaseImages()) ? [] : await this.#makeBaseImages(say)
    for (const [target, image] of [
      ['controller', 'overmesh:local'],
      ['client', 'overmesh-client:local'],
    ]) {
      say(`building ${image}`)
      await this.#build(TOP, image, '--file', join(TOP, 'deploy/Dockerfile'), '--target', target, ...args)
    }
    return (performance.now() - started) / 1000
  }

  async #hasBaseImages(): Promise<boolean> {
    // Its own engine starts empty.
    if (this.#daemon) return false
    for (const image of BASE_IMAGES) {
      if ((await this.attempt(['docker', 'image', 'inspect', image])).code === 0) continue
      if ((await this.attempt(['docker', 'pull', image], 300_000)).code !== 0) return false
    }
    return true
  }

  /** A Debian by debootstrap, and the same with the checkout's Node and the machine's npm; both trust whom the machine trusts. */
  async #makeBaseImages(say: (line: string) => void): Promise<string[]> {
    const directory = mkdtempSync(join(tmpdir(), 'overmesh-base-'))
    try {
      const root = join(directory, 'debian')
      say('making a Debian to build on')
      await run(['debootstrap', '--variant=minbase', 'bookworm', root], { timeout: 400_000 })
      mkdirSync(join(root, dirname(CERTIFICATES)), { recursive: true })
      cpSync(CERTIFICATES, join(root, CERTIFICATES))
      for (const each of ['var/cache/apt/archives', 'var/lib/apt/lists'])
        rmSync(join(root, each), { recursive: true })
      const archive = join(directory, 'debian.tar')
      await run(['tar', '-C', root, '-cf', archive, '.'])
      await this.run('docker', 'import', archive, DEBIAN)

      const context = join(directory, 'node')
      const modules = join(context, 'usr/local/lib/node_modules')
      const bin = join(context, 'usr/local/bin')
      mkdirSync(bin, { recursive: true })
      mkdirSync(modules, { recursive: true })
      copyFileSync(realpathSync(NODE), join(bin, 'node'))
      // …/npm/bin/npm-cli.js; `npm run` says where.
      const cli = realpathSync(process.env.npm_execpath ?? (await run(['sh', '-c', 'command -v npm'])).trim())
      cpSync(dirname(dirname(cli)), join(modules, 'npm'), { recursive: true, dereference: true })
      for (const each of ['npm', 'npx'])
        symlinkSync(`../lib/node_modules/npm/bin/${each}-cli.js`, join(bin, each))
      const dockerfile = [
        `FROM ${DEBIAN}`,
        'RUN apt-get update && apt-get install -y --no-install-recommends libstdc++6',
        'COPY usr /usr',
        `ENV NODE_EXTRA_CA_CERTS=${CERTIFICATES}`,
      ]
      writeFileSync(join(context, 'Dockerfile'), dockerfile.join('\n'))
      await this.#build(context, NODE_IMAGE)
      this.#debian = DEBIAN
      return ['--build-arg', `BASE_IMAGE=${DEBIAN}`, '--build-arg', `NODE_IMAGE=${NODE_IMAGE}`]
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }

  async #build(context: string, image: string, ...args: string[]): Promise<void> {
    const argv = ['docker', 'build', ...this.#network, '--tag', image, ...args, context]
    const { code, stdout, stderr } = await this.attempt(argv, 600_000)
    if (code !== 0) throw new Error(`docker build ${image}:\n${`${stdout}${stderr}`.slice(-4000)}`)
  }

  attempt(argv: readonly string[], timeout = 60_000): Promise<CommandResult> {
    return attempt(argv, { env: this.env, timeout, cwd: TOP })
  }

  run(...argv: string[]): Promise<string> {
    return run(argv, { env: this.env, timeout: 120_000, cwd: TOP })
  }

  async close(): Promise<void> {
    if (this.#daemon && this.#daemon.exitCode === null) {
      this.#daemon.kill('SIGTERM')
      await Promise.race([once(this.#daemon, 'exit'), new Promise(resolve => setTimeout(resolve, 30_000))])
    }
    if (!this.#directory) return
    // It leaves that one mounted.
    await attempt(['umount', join(this.#directory, 'exec/netns/default')])
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

async function answers(env: NodeJS.ProcessEnv): Promise<boolean> {
  return (
    (await attempt(['docker', 'version', '--format', '{{.Server.Version}}'], { env }).catch(() => undefined))
      ?.code === 0
  )
}

async function hasCompose(): Promise<boolean> {
  for (const command of [['docker', 'compose'], ['docker-compose']])
    if ((await attempt([...command, 'version']).catch(() => undefined))?.code === 0) return true
  return false
}
