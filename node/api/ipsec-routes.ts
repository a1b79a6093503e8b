// /v1/attachments: sites that are reached by IPsec.
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import {
  AddAttachment,
  AttachmentDetail,
  AttachmentEntry,
  AttachmentExport,
  ChangeAttachment,
  ExportFormat,
  IkeDaemon,
} from '../service-ipsec.ts'
import { type Api, responses } from './schemas.ts'

const tags = ['attachments']
const params = Type.Object({ name: Type.String({ maxLength: 80 }) })
const Removed = Type.Object({
  name: Type.String(),
  storedOn: Type.Object({ controllers: Type.Integer(), of: Type.Integer() }),
})

export function ipsecRoutes(app: Api, service: ControllerService): void {
  const detail = (summary: string) => ({ tags, summary, params, response: responses(AttachmentDetail) })
  app.get(
    '/v1/ike-daemon',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'The IKE daemon of this controller', response: responses(IkeDaemon) },
    },
    () => service.ikeDaemon(),
  )
  app.get(
    '/v1/attachments',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'All attachments', response: responses(Type.Array(AttachmentEntry)) },
    },
    () => service.attachments(),
  )
  app.post(
    '/v1/attachments',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Add an attachment',
        body: AddAttachment,
        response: responses(AttachmentDetail),
      },
    },
    request => service.addAttachment(request.body),
  )
  app.get(
    '/v1/attachments/:name',
    { config: { scope: 'read' }, schema: detail('One attachment with its SAs') },
    request => service.attachment(request.params.name),
  )
  app.post(
    '/v1/attachments/:name',
    { config: { scope: 'admin' }, schema: { ...detail('Change an attachment'), body: ChangeAttachment } },
    request => service.changeAttachment(request.params.name, request.body),
  )
  app.post(
    '/v1/attachments/:name/remove',
    {
      config: { scope: 'admin' },
      schema: { tags, summary: 'Remove an attachment', params, response: responses(Removed) },
    },
    request => service.removeAttachment(request.params.name),
  )
  app.post(
    '/v1/attachments/:name/up',
    { config: { scope: 'operate' }, schema: detail('Enable and dial it') },
    request => service.attachmentUp(request.params.name),
  )
  app.post(
    '/v1/attachments/:name/down',
    { config: { scope: 'operate' }, schema: detail('End it and keep it down') },
    request => service.attachmentDown(request.params.name),
  )
  app.get(
    '/v1/attachments/:name/export',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'What the remote end has to be told, without its secret',
        params,
        querystring: Type.Object({ format: Type.Optional(ExportFormat) }),
        response: responses(AttachmentExport),
      },
    },
    request => service.exportAttachment(request.params.name, request.query.format ?? 'strongswan'),
  )
}
