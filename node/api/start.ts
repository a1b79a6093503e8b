// The API over TCP of a controller, with its certificate and tokens, where its operator wants it.
import type { Logger } from 'pino'
import { ApiCertificate } from '../api-certificate.ts'
import { apiSettings, checkListen } from '../api-settings.ts'
import type { EventLog } from '../events.ts'
import type { Home } from '../home.ts'
import { ownAddresses } from '../own-addresses.ts'
import { Tokens } from '../tokens.ts'
import { TcpApi, type TcpApiInit } from './tcp-api.ts'

export interface TcpApiStart extends Pick<TcpApiInit, 'service' | 'meter' | 'warn'> {
  home: Home
  events: EventLog
  logger: Logger
}

/**
 * What was settled before must not keep clients out: only what is asked for this time has to be had.
 * @param listen `host:port`: there, instead of where it was settled
 * @throws ServiceError when an address that was asked for cannot be had
 */
export async function startTcpApi(
  { home, events, logger, ...init }: TcpApiStart,
  listen: readonly string[] | undefined,
): Promise<TcpApi> {
  const api = new TcpApi({
    ...init,
    tokens: new Tokens(home),
    certificate: new ApiCertificate(home, ownAddresses),
    record: event => void events.append(event),
    logger: logger.child({ part: 'api' }),
    now: Date.now,
  })
  const settings = apiSettings(home)
  if (listen === undefined) await api.start(settings)
  else await api.apply({ ...settings, listen: checkListen(listen) })
  return api
}
