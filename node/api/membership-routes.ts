// /v1/controllers and /v1/invites: who is a controller of the mesh.
import { Type } from 'typebox'
import type { ControllerService } from '../service.ts'
import { ControllerEntry, Invitation, InviteRequest, Removal } from '../service-membership.ts'
import { type Api, ControllersQuery, NameParams, responses } from './schemas.ts'

const tags = ['membership']

export function membershipRoutes(app: Api, service: ControllerService): void {
  app.post(
    '/v1/invites',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Invite a machine to become a controller',
        body: InviteRequest,
        response: responses(Invitation),
      },
    },
    request => service.invite(request.body.ttlSeconds),
  )
  app.get(
    '/v1/controllers',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'The controllers of the mesh',
        querystring: ControllersQuery,
        response: responses(Type.Array(ControllerEntry)),
      },
    },
    request => service.controllers(request.query.all),
  )
  app.post(
    '/v1/controllers/:name/remove',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Take another controller out for good',
        params: NameParams,
        response: responses(Removal),
      },
    },
    request => service.removeController(request.params.name),
  )
  app.post(
    '/v1/leave',
    {
      config: { scope: 'admin' },
      schema: { tags, summary: 'Take this controller out for good', response: responses(Removal) },
    },
    () => service.leave(),
  )
}
