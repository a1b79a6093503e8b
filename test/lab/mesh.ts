// Several controllers of one mesh, each on a host of its own, and stock clients that begin at the controller a test wants.
import { readFileSync } from 'node:fs'
import type { Status } from '../../node/service.ts'
import { Controller, type ControllerInit } from './controller.ts'
import type { Host } from './host.ts'
import { type Lab, until } from './lab.ts'
import { OpenvpnClient, type OpenvpnOptions, writePack } from './openvpn-client.ts'

export interface MeshClient {
  name: string
  host: Host
  address: string
  openvpn: OpenvpnClient
}

export class Mesh {
  readonly lab: Lab
  readonly controllers: Controller[] = []

  private constructor(lab: Lab) {
    this.lab = lab
  }

  /** Controllers that run already. */
  static of(lab: Lab, controllers: readonly Controller[]): Mesh {
    const mesh = new Mesh(lab)
    mesh.controllers.push(...controllers)
    return mesh
  }

  /** Founds a mesh on the first host, joins the others by invitation, runs all, and waits until they are one. */
  static async start(lab: Lab, names: readonly string[], init: ControllerInit = {}): Promise<Mesh> {
    const mesh = new Mesh(lab)
    for (const name of names) await mesh.add(name, init)
    await mesh.whole(30)
    return mesh
  }

  /** One more controller, running. */
  async add(name: string, init: ControllerInit = {}): Promise<Controller> {
    const host = await this.lab.host(name)
    const [founder] = this.controllers
    const controller = founder
      ? await Controller.join(host, await founder.invite(), init)
      : await Controller.init(host, init)
    this.controllers.push(controller)
    await controller.up()
    return controller
  }

  get(name: string): Controller {
    const found = this.controllers.find(each => each.name === name)
    if (!found) throw new Error(`there is no controller ${name}`)
    return found
  }

  /** Waits until all these see each other, by the backbone too, and have the same records. */
  async whole(seconds = 15, members: readonly Controller[] = this.controllers): Promise<number> {
    let seen: Status[] = []
    try {
      return await until(
        `${members.map(each => each.name).join(', ')} are one mesh`,
        async () => {
          seen = await Promise.all(members.map(each => each.status()))
          return seen.every(
            status =>
              status.stateHash === seen[0].stateHash &&
              members.every(({ name }) => status.controllers.find(each => each.name === name)?.link.up),
          )
        },
        seconds,
      )
    } catch (error) {
      const facts = seen.map(({ controller, stateHash, controllers }) => ({
        controller: controller.name,
        stateHash,
        controllers: controllers.map(({ name, link, behind }) => ({ name, ...link, behind })),
      }))
      throw new Error(`${(error as Error).message}\n${JSON.stringify(facts, null, 1)}`)
    }
  }

  /**
   * Adds a client by one controller and connects it to one.
   * @param order names of controllers as the client is to try them; the pack's own order without it
   */
  async connect(
    name: string,
    order: readonly string[] = [],
    { by = this.controllers[0], ...options }: OpenvpnOptions & { by?: Controller } = {},
  ): Promise<MeshClient> {
    const host = await this.lab.host(name)
    const pack = await by.addClient(name)
    return this.connectWith(name, host, this.orderPack(pack, order), options)
  }

  async connectWith(
    name: string,
    host: Host,
    pack: string,
    options: OpenvpnOptions = {},
  ): Promise<MeshClient> {
    const openvpn = await OpenvpnClient.connect(host, pack, options)
    return { name, host, address: await openvpn.address(), openvpn }
  }

  /** A copy of a pack that has these controllers, in this order. Nothing but the order of a user's own choice. */
  orderPack(pack: string, order: readonly string[]): string {
    if (order.length === 0) return pack
    const text = readFileSync(pack, 'utf8')
    const lines = text.match(/^remote .*\n/gm) ?? []
    const chosen = order.map(name => {
      const { ip4 } = this.get(name).host
      const line = lines.find(each => each.includes(`remote ${ip4} `))
      if (!line) throw new Error(`${pack} does not list ${name} (${ip4})`)
      return line
    })
    const [first] = lines
    const reordered = lines.reduce((rest, line) => rest.replace(line, line === first ? '@@' : ''), text)
    const file = pack.slice(pack.lastIndexOf('/') + 1).replace('.ovpn', `-${order.join('-')}.ovpn`)
    return writePack(
      this.controllers[0].host,
      file,
      reordered.replace('@@', () => chosen.join('')),
    )
  }

  /** On which controller a client is, as another controller sees it; undefined when on none. */
  async whereIs(client: string, asked: Controller = this.controllers[0]): Promise<string | undefined> {
    return (await asked.client(client)).session?.controller
  }

  /** Cuts the network into groups that do not hear each other. Hosts of clients are not concerned. */
  async split(...groups: readonly (readonly Controller[])[]): Promise<void> {
    for (const [index, group] of groups.entries()) {
      const others = groups.flatMap((each, other) => (other === index ? [] : each))
      for (const { host } of group) for (const other of others) await host.refuseFrom(other.host)
    }
  }

  /** Undoes every cut. */
  async heal(): Promise<void> {
    for (const { host } of this.controllers) await host.acceptAll()
  }
}
