// Requests and responses of the API beyond what the service itself defines.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import { type Static, type TSchema, Type } from 'typebox'
import { Client, Name, PackFormat, ShownName } from '../service.ts'
import { ErrorBody } from './errors.ts'

/** The server, with request and response types taken from the schemas. */
export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

export const ClientParams = Type.Object({ name: ShownName })
export const NameParams = Type.Object({ name: Name })

export const Reason = Type.Object(
  {
    reason: Type.Optional(Type.String({ maxLength: 255, description: 'shown to the client and in events' })),
  },
  { additionalProperties: false },
)

export const PackRequest = Type.Object(
  {
    format: PackFormat,
    password: Type.Optional(
      Type.String({ minLength: 1, maxLength: 255, description: 'protects a .p12, nothing else' }),
    ),
    prefer: Type.Optional(
      Type.Array(Name, { maxItems: 64, description: 'controllers to list first, from now on' }),
    ),
    allow: Type.Optional(
      Type.Array(Type.String({ maxLength: 100 }), {
        maxItems: 64,
        description: 'exceptions of the seal in a zip, such as tcp/22@192.0.2.0/24',
      }),
    ),
  },
  { additionalProperties: false },
)

export const RemoveRoute = Type.Object(
  {
    cidr: Type.String({ maxLength: 64, description: 'prefix' }),
    via: Type.Optional(Type.String({ maxLength: 100, description: 'only the route through this' })),
  },
  { additionalProperties: false },
)

export const ControllersQuery = Type.Object(
  { all: Type.Optional(Type.Boolean({ description: 'those that were removed, too' })) },
  { additionalProperties: false },
)

export const RekeyRequest = Type.Object(
  { days: Type.Optional(Type.Integer({ minimum: 1, maximum: 36500 })) },
  { additionalProperties: false },
)

/** A clientpack in transit. Holds a private key. */
export const PackBody = Type.Object({
  client: Client,
  format: PackFormat,
  fileName: Type.String({ description: 'proposed file name' }),
  content: Type.String({ description: 'the file, base64', contentEncoding: 'base64' }),
})
export type PackBody = Static<typeof PackBody>

export const StateQuery = Type.Object(
  { kind: Type.Optional(Type.String({ maxLength: 64, description: 'only records of this kind' })) },
  { additionalProperties: false },
)

export const MetricsQuery = Type.Object(
  {
    clients: Type.Optional(
      Type.Union([Type.Literal('0'), Type.Literal('1')], {
        description: '1: with figures of each client that is connected here',
      }),
    ),
  },
  { additionalProperties: false },
)

const eventFilter = {
  since: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'only events after this number, the first ones first',
    }),
  ),
  types: Type.Optional(
    Type.String({
      maxLength: 2048,
      description: 'types separated by commas; `session-*` is all that begin so; default all',
    }),
  ),
}

export const EventsQuery = Type.Object(
  {
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'default 1000' })),
    ...eventFilter,
  },
  { additionalProperties: false },
)

export const FeedQuery = Type.Object(
  {
    backlog: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 1000,
        description: 'latest events to begin with, if not with those after a number; default 0',
      }),
    ),
    ...eventFilter,
  },
  { additionalProperties: false },
)

/** The responses of an operation: one good body, and the error body for everything else. */
export function responses<T extends TSchema>(ok: T) {
  return { 200: ok, '4xx': ErrorBody, '5xx': ErrorBody }
}
