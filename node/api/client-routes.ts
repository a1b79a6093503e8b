// /v1/clients: clients and their credentials.
import { Type } from 'typebox'
import { AddClient, Client, type ControllerService, type Pack } from '../service.ts'
import { type Api, ClientParams, PackBody, PackRequest, Reason, RekeyRequest, responses } from './schemas.ts'

const tags = ['clients']
const params = ClientParams

export function clientRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/clients',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'All clients', response: responses(Type.Array(Client)) },
    },
    () => service.clients(),
  )
  app.post(
    '/v1/clients',
    {
      config: { scope: 'admin' },
      schema: { tags, summary: 'Add a client', body: AddClient, response: responses(PackBody) },
    },
    async request => packBody(await service.addClient(request.body)),
  )
  app.get(
    '/v1/clients/:name',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'One client', params, response: responses(Client) },
    },
    request => service.client(request.params.name),
  )
  app.post(
    '/v1/clients/:name/pack',
    {
      config: { scope: 'admin' },
      schema: { tags, summary: 'Its clientpack', params, body: PackRequest, response: responses(PackBody) },
    },
    async request => {
      const { format, ...options } = request.body
      return packBody(await service.packClient(request.params.name, format, options))
    },
  )
  app.post(
    '/v1/clients/:name/disable',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'End its session and admit no new one',
        params,
        body: Reason,
        response: responses(Client),
      },
    },
    request => service.disableClient(request.params.name, request.body.reason),
  )
  app.post(
    '/v1/clients/:name/enable',
    {
      config: { scope: 'operate' },
      schema: { tags, summary: 'Admit it again', params, response: responses(Client) },
    },
    request => service.enableClient(request.params.name),
  )
  app.post(
    '/v1/clients/:name/revoke',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Make its certificate useless for good',
        params,
        body: Reason,
        response: responses(Client),
      },
    },
    request => service.revokeClient(request.params.name, request.body.reason),
  )
  app.post(
    '/v1/clients/:name/rekey',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Give it a new key and certificate',
        params,
        body: RekeyRequest,
        response: responses(PackBody),
      },
    },
    async request => packBody(await service.rekeyClient(request.params.name, request.body.days)),
  )
  app.post(
    '/v1/clients/:name/kick',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'End its session; it may come back',
        params,
        response: responses(Type.Object({ kicked: Type.Boolean() })),
      },
    },
    request => service.kickClient(request.params.name),
  )
}

function packBody(pack: Pack): PackBody {
  return { ...pack, content: Buffer.from(pack.content).toString('base64') }
}
