// An Overmesh controller on a host, run and operated by the command that users have.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import type { Client, Session, Status } from '../../node/service.ts'
import { attempt, type CommandResult, run } from './command.ts'
import type { Host } from './host.ts'
import type { LabProcess } from './process.ts'

const TOP = join(import.meta.dirname, '../..')
/** The Node of the checkout, whatever the machine has. */
export const NODE = join(TOP, 'node_modules/.bin/node')
export const OVERMESH = [NODE, join(TOP, 'node/cli/overmesh.js')]

/** Before the command line of a program that is to have no privilege: as a user who is not root. */
export const WITHOUT_ROOT = ['unshare', '--user', '--map-user=1000', '--']

export interface ControllerInit {
  /** Name of the controller. @default the host's name */
  name?: string
  /** @default '10.77.0.0/16' */
  subnet?: string
  /** @default none: IPv4 only */
  subnet6?: string
  /** UDP addresses to listen on. @default ['0.0.0.0:1194'] */
  listen?: string[]
  /** TCP address for other controllers. @default what `init` chooses */
  meshListen?: string
  /** What the packs dial. @default the host's IPv4 underlay address */
  public?: string[]
  /** After so many seconds it renegotiates the keys of a session. @default what `init` writes */
  sessionKeySeconds?: number
  /** Further arguments of `up`. */
  upArgs?: string[]
  /** Arguments of Node itself, such as `--trace-gc`. */
  nodeArgs?: string[]
}

export class Controller {
  readonly host: Host
  readonly dataDir: string
  readonly #init: ControllerInit
  #process: LabProcess | undefined
  #starts = 0
  #overmesh = OVERMESH

  private constructor(host: Host, dataDir: string, init: ControllerInit) {
    this.host = host
    this.dataDir = dataDir
    this.#init = init
  }

  /** Creates a mesh and its first controller, not yet running. */
  static async init(host: Host, init: ControllerInit = {}): Promise<Controller> {
    const {
      name = host.name,
      subnet = '10.77.0.0/16',
      listen = ['0.0.0.0:1194'],
      public: dial = [host.ip4],
    } = init
    const controller = new Controller(host, join(host.lab.directory, `data-${host.name}`), init)
    await controller.cli(
      ...['init', '--name', 'lab', '--subnet', subnet, '--controller', name],
      ...(init.subnet6 === undefined ? [] : ['--subnet6', init.subnet6]),
      ...listen.flatMap(each => ['--listen', each]),
      ...dial.flatMap(each => ['--public', each]),
      ...(init.meshListen === undefined ? [] : ['--mesh-listen', init.meshListen]),
    )
    if (init.sessionKeySeconds !== undefined) {
      const file = join(controller.dataDir, 'config.json')
      const config = JSON.parse(readFileSync(file, 'utf8'))
      config.lifetimes.sessionKeys = init.sessionKeySeconds
      writeFileSync(file, JSON.stringify(config))
    }
    return controller
  }

  /** Makes the host a controller of a mesh, by a token of `invite`; not yet running. */
  static async join(host: Host, token: string, init: ControllerInit = {}): Promise<Controller> {
    const { name = host.name, listen = ['0.0.0.0:1194'], public: dial = [host.ip4] } = init
    const controller = new Controller(host, join(host.lab.directory, `data-${host.name}`), init)
    await controller.cli(
      ...['join', token, '--controller', name],
      ...listen.flatMap(each => ['--listen', each]),
      ...dial.flatMap(each => ['--public', each]),
      ...(init.meshListen === undefined ? [] : ['--mesh-listen', init.meshListen]),
    )
    return controller
  }

  /** A token to join by, as `invite` prints it. */
  async invite(...args: string[]): Promise<string> {
    return (await this.cli('invite', ...args)).trimEnd().split('\n').at(-1)!
  }

  /** Creates a mesh and runs its first controller. */
  static async start(host: Host, init: ControllerInit = {}): Promise<Controller> {
    const controller = await Controller.init(host, init)
    await controller.up()
    return controller
  }

  /**
   * Starts the controller and waits until clients can connect.
   * @param under a command line to run it under, such as that of unshare(1)
   */
  async up(seconds = 90, under: string[] = []): Promise<void> {
    const { nodeArgs = [], upArgs = [] } = this.#init
    const [node, launcher] = this.#overmesh
    const argv = [...under, node, ...nodeArgs, launcher, '--data', this.dataDir, 'up', ...upArgs]
    this.#process = await this.host.spawn(`overmesh up ${this.host.name} ${++this.#starts}`, argv)
    await this.#process.waitFor(/^ready$/m, seconds)
  }

  /** Sends the clients away, stops, and goes on with another build. @param launcher its overmesh.js */
  async upgrade(launcher: string): Promise<void> {
    await this.cli('drain')
    const { code } = await this.process.stop('SIGTERM')
    if (code !== 0) throw new Error(`${this.name} ended with status ${code}`)
    this.#overmesh = [NODE, launcher]
    await this.up()
  }

  get name(): string {
    return this.#init.name ?? this.host.name
  }

  get process(): LabProcess {
    if (this.#process === undefined) throw new Error('the controller was not started')
    return this.#process
  }

  /** The command line of a command on this controller's host and data directory. */
  commandLine(...args: string[]): string[] {
    return this.host.command(...this.#overmesh, ...args, '--data', this.dataDir)
  }

  /** Runs a command on this controller's host and data directory, and returns how it ended. */
  attempt(args: readonly string[], timeout = 60_000): Promise<CommandResult> {
    return attempt(this.commandLine(...args), { timeout })
  }

  /** Runs a command that must succeed; returns its standard output. */
  cli(...args: string[]): Promise<string> {
    return run(this.commandLine(...args))
  }

  /** Runs a command that must succeed; returns the JSON document it prints. */
  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.cli(...args, '--json')) as T
  }

  /** Adds a client; returns the path of its pack. */
  async addClient(name: string, ...args: string[]): Promise<string> {
    const pack = join(this.host.lab.directory, `${name}.ovpn`)
    await this.cli('client', 'add', name, '--out', pack, ...args)
    return pack
  }

  /** Its API, to look at it often, or in the midst of what is timed: a command takes as long as its Node starts. */
  get api(): RemoteController {
    return new RemoteController(apiSocketPath(this.dataDir))
  }

  status = (): Promise<Status> => this.json('status')
  sessions = (): Promise<Session[]> => this.json('sessions')
  clients = (): Promise<Client[]> => this.json('client', 'list')
  client = (name: string): Promise<Client> => this.json('client', 'show', name)

  /** Sum of the counters whose names match. */
  async counter(name: RegExp): Promise<number> {
    const { counters } = await this.status()
    return Object.entries(counters).reduce((sum, [key, value]) => (name.test(key) ? sum + value : sum), 0)
  }
}
