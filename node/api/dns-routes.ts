// /v1/dns: names of the overlay.

import type { ControllerService } from '../service.ts'
import { ChangeDns, DnsState } from '../service-dns.ts'
import { type Api, responses } from './schemas.ts'

const tags = ['dns']

export function dnsRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/dns',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'DNS of the overlay', response: responses(DnsState) },
    },
    () => service.dns(),
  )
  app.post(
    '/v1/dns',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Turn DNS on or off, or name resolvers, for the whole mesh',
        body: ChangeDns,
        response: responses(DnsState),
      },
    },
    request => service.changeDns(request.body),
  )
}
