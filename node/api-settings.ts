// Where the API of this controller listens beside its unix socket, as its operator settled it.
import type { Home } from './home.ts'
import { formatHostPort, type HostPort, HostPortError, parseHostPort } from './net/ip.ts'
import { type ApiState, type ChangeApi, MAX_API_LISTEN, MAX_API_NAMES } from './service-api.ts'
import { ServiceError } from './service-error.ts'

export interface ApiSettings {
  /** `host:port`, TCP; none: off. */
  listen: string[]
  /** Further names and addresses for the certificate. */
  names: string[]
}

/** The API over TCP of a running controller. */
export interface LiveApi {
  /** `host:port` */
  listening(): string[]
  /** Null while it listens nowhere. */
  certificate(): ApiState['certificate']
  /** Makes it so, or leaves all as it is. @throws ServiceError */
  apply(settings: ApiSettings): Promise<void>
}

export function apiSettings({ config }: Pick<Home, 'config'>): ApiSettings {
  return { listen: [...(config.api?.listen ?? [])], names: [...(config.api?.names ?? [])] }
}

/** Makes the change, and keeps it if it could be made. @throws ServiceError */
export async function changeApiSettings(
  home: Home,
  change: ChangeApi,
  live: LiveApi | undefined,
): Promise<ApiSettings> {
  const before = apiSettings(home)
  const settings = {
    listen: change.listen === undefined ? before.listen : checkListen(change.listen),
    names: change.names === undefined ? before.names : checkNames(change.names),
  }
  await live?.apply(settings)
  // What newer versions keep there stays.
  const config = { ...home.config, api: settings }
  await home.directory.writeConfig(config)
  home.config.api = settings
  return settings
}

/** The same addresses in canonical text. @throws ServiceError */
export function checkListen(texts: readonly string[]): string[] {
  if (texts.length > MAX_API_LISTEN) {
    throw new ServiceError('invalid', `the API listens on at most ${MAX_API_LISTEN} addresses`)
  }
  const listen = texts.map(text => formatHostPort(readListen(text)))
  if (new Set(listen).size !== listen.length) throw new ServiceError('invalid', 'an address is named twice')
  return listen
}

/** @throws ServiceError */
export function readListen(text: string): HostPort {
  // Port 0 is one that the system chooses.
  const endpoint = refusing(() => parseHostPort(text, -1, 0))
  if (endpoint.port < 0) throw new ServiceError('invalid', `"${text}" has no port; write ADDRESS:PORT`)
  if (endpoint.family === 'name') {
    throw new ServiceError('invalid', `"${text}" is a name; give an address of this machine, 0.0.0.0 for all`)
  }
  return endpoint
}

function checkNames(texts: readonly string[]): string[] {
  if (texts.length > MAX_API_NAMES) {
    throw new ServiceError('invalid', `the certificate takes at most ${MAX_API_NAMES} further names`)
  }
  return [
    ...new Set(
      texts.map(text => {
        if (text === '')
          throw new ServiceError(
            'invalid',
            'a name for the certificate is empty; give a host name or address',
          )
        const isBareIpv6 = text.indexOf(':') !== text.lastIndexOf(':') && !text.startsWith('[')
        const { host, port } = refusing(() => parseHostPort(isBareIpv6 ? `[${text}]` : text, 0))
        if (port !== 0) throw new ServiceError('invalid', `"${text}" has a port; a certificate is for a host`)
        return host
      }),
    ),
  ]
}

function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof HostPortError) throw new ServiceError('invalid', error.message)
    throw error
  }
}
