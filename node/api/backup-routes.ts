// /v1/backup: a copy of the controller, encrypted; it holds every key that the controller has.
import { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { BackupRequest } from '../service-backup.ts'
import { ErrorBody } from './errors.ts'
import type { Api } from './schemas.ts'
import { SLOW_MS } from './scopes.ts'

export const BACKUP_TYPE = 'application/octet-stream'

export function backupRoutes(app: Api, service: ControllerService): void {
  app.post(
    '/v1/backup',
    {
      config: { scope: 'admin', quietMs: SLOW_MS },
      schema: {
        tags: ['controller'],
        summary: 'All that is needed to be this controller again, encrypted with a passphrase',
        body: BackupRequest,
        response: {
          200: { content: { [BACKUP_TYPE]: { schema: Type.String({ format: 'binary' }) } } },
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const content = await service.backup(request.body.passphrase)
      return reply.type(BACKUP_TYPE).send(Readable.from(content, { objectMode: false }) as never)
    },
  )
}
