// A controller that moves: where it listens, and where it is dialled from now on.
import { parseCidr } from '../state/address.ts'
import { parseCidr6 } from '../state/address6.ts'
import type { ControllerValue, MeshValue } from '../state/kinds.ts'
import { makeServerCertificate } from './certificates.ts'
import type { Config } from './data-directory.ts'
import { checkDialable } from './dialable.ts'
import type { Home } from './home.ts'
import { meshEndpointsOf, publicEndpointsOf } from './mesh-endpoints.ts'
import { removalNotice } from './removal.ts'
import { ServiceError } from './service-error.ts'

/** As `init` takes them; what is absent stays as it was. */
export interface Relocation {
  readonly public?: readonly string[]
  readonly listen?: readonly string[]
  readonly meshListen?: string
}

/** Where a controller is from now on: `host:port` each. */
export interface Place {
  /** What clients and peers dial, UDP; what peers dial, TCP. */
  public: readonly string[]
  mesh: readonly string[]
  /** Where it listens itself. */
  listen: readonly string[]
  meshListen: string
  /** What was dialled before, and is no more. */
  gone: readonly string[]
  /** Names of the attachments, whose sites may know it by that. */
  sites: readonly string[]
}

/**
 * Moves the controller of an opened data directory, which must not be running; it may be done again if it was cut short. The others
 * hear of it when it runs.
 * @throws ServiceError for what nobody can dial, or when it has left the mesh
 */
export async function relocate(home: Home, relocation: Relocation): Promise<Place> {
  const { directory, replica, mesh, id, controller: own } = home
  const removed = removalNotice(home)
  if (removed !== undefined) throw new ServiceError('refused', removed)
  const config = relocatedConfig(home.config, relocation)
  const moved = relocatedRecord(own, mesh.value, config, relocation)
  if (moved) {
    await replica.write([{ kind: 'controller', id, value: moved }])
    await makeServerCertificate(directory, mesh, moved, config, Date.now())
  }
  await directory.writeConfig(config)
  const { publicEndpoints, meshEndpoints } = moved ?? own
  return {
    public: publicEndpoints,
    mesh: meshEndpoints,
    listen: config.listen,
    meshListen: config.meshListen,
    gone: own.publicEndpoints.filter(each => !publicEndpoints.includes(each)),
    sites: [...replica.all('attachment')].map(({ value }) => value.name),
  }
}

export function relocatedConfig(config: Config, { listen, meshListen }: Relocation): Config {
  return {
    ...config,
    ...(listen && { listen: [...listen] }),
    ...(meshListen !== undefined && { meshListen }),
  }
}

/** The record of the controller as it is to be; undefined when nothing of it changes. @throws ServiceError for what nobody can dial */
export function relocatedRecord(
  own: ControllerValue,
  { subnet, subnet6 }: MeshValue,
  config: Config,
  { public: told, meshListen }: Relocation,
): ControllerValue | undefined {
  if (told === undefined && meshListen === undefined) return undefined
  const publicEndpoints =
    told === undefined ? [...own.publicEndpoints] : publicEndpointsOf(told, config.listen)
  if (told !== undefined)
    checkDialable(publicEndpoints, {
      subnet: parseCidr(subnet)!,
      subnet6: subnet6 === undefined ? undefined : parseCidr6(subnet6),
    })
  return { ...own, publicEndpoints, meshEndpoints: meshEndpointsOf(config.meshListen, publicEndpoints) }
}
