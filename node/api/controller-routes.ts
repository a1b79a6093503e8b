// What a controller says about itself: status, sessions, routes, records, events, metrics.
import { finished } from 'node:stream'
import { Type } from 'typebox'
import { MAX_PATTERNS, PATTERN } from '../event-types.ts'
import {
  AddRoute,
  type ControllerService,
  Drained,
  Event,
  RefreshRequest,
  Route,
  RouteChange,
  RouteUpdates,
  ServiceError,
  Session,
  StateRecord,
  Status,
  StoredOn,
  Verification,
} from '../service.ts'
import { ErrorBody } from './errors.ts'
import { EventFeed, MAX_FOLLOWERS } from './event-feed.ts'
import { type Api, EventsQuery, FeedQuery, RemoveRoute, responses, StateQuery } from './schemas.ts'

const tags = ['controller']

export function controllerRoutes(app: Api, service: ControllerService): void {
  app.get(
    '/v1/status',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'This controller and the mesh at a glance', response: responses(Status) },
    },
    () => service.status(),
  )
  app.get(
    '/v1/sessions',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'Connected clients', response: responses(Type.Array(Session)) },
    },
    () => service.sessions(),
  )
  app.get(
    '/v1/routes',
    {
      config: { scope: 'read' },
      schema: { tags, summary: 'The derived routing table', response: responses(Type.Array(Route)) },
    },
    () => service.routes(),
  )
  app.post(
    '/v1/routes',
    {
      config: { scope: 'operate' },
      schema: { tags, summary: 'Add a route', body: AddRoute, response: responses(RouteChange) },
    },
    request => service.addRoute(request.body),
  )
  app.post(
    '/v1/routes/remove',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Remove routes to a prefix',
        body: RemoveRoute,
        response: responses(RouteChange),
      },
    },
    request => service.removeRoute(request.body.cidr, request.body.via),
  )
  app.get(
    '/v1/routes/updates',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: 'When connected clients are told of other routes',
        response: responses(RouteUpdates),
      },
    },
    () => service.routeUpdates(),
  )
  app.post(
    '/v1/routes/updates',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Set when connected clients are told of other routes',
        body: RouteUpdates,
        response: responses(RouteUpdates),
      },
    },
    request => service.setRouteUpdates(request.body),
  )
  app.post(
    '/v1/routes/refresh',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Tell clients the routes that there are now',
        body: RefreshRequest,
        response: responses(Type.Object({ storedOn: StoredOn })),
      },
    },
    request => service.refreshClients(request.body),
  )
  app.post(
    '/v1/drain',
    {
      config: { scope: 'operate' },
      schema: {
        tags,
        summary: 'Send the clients of this controller to others, and take no new ones',
        response: responses(Drained),
      },
    },
    () => service.drain(),
  )
  app.post(
    '/v1/serve',
    {
      config: { scope: 'operate' },
      schema: { tags, summary: 'Take clients again', response: responses(Drained) },
    },
    () => service.serve(),
  )
  app.get(
    '/v1/state',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'The records of the replica',
        querystring: StateQuery,
        response: responses(Type.Array(StateRecord)),
      },
    },
    request => service.records(request.query.kind),
  )
  app.get(
    '/v1/state/verify',
    {
      config: { scope: 'read' },
      schema: {
        tags,
        summary: "The replica against its own checksums and its peers' hashes",
        response: responses(Verification),
      },
    },
    () => service.verify(),
  )
  eventRoutes(app, service)
}

function eventRoutes(app: Api, service: ControllerService): void {
  const feeds = new Set<EventFeed>()
  let opening = 0
  app.addHook('preClose', async () => {
    for (const feed of feeds) feed.finish('the controller stops')
  })
  app.get(
    '/v1/events',
    {
      config: { scope: 'read' },
      schema: {
        tags: ['events'],
        summary: 'The latest events, oldest first',
        querystring: EventsQuery,
        response: responses(Type.Array(Event)),
      },
    },
    ({ query }) => service.events(query.limit, { since: query.since, types: typesOf(query.types) }),
  )
  app.get(
    '/v1/events/feed',
    {
      config: { scope: 'read' },
      // HEAD would open one that nobody reads.
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary:
          'Events as they happen, one JSON object a line; a reader that is too slow is cut off and told',
        querystring: FeedQuery,
        response: {
          200: {
            description: 'an event a line; empty lines mean nothing; feed.end is the last line',
            content: { 'application/x-ndjson': { schema: Type.String() } },
          },
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      if (feeds.size + opening >= MAX_FOLLOWERS) {
        throw new ServiceError(
          'refused',
          `${MAX_FOLLOWERS} readers follow the events already; end one of them`,
        )
      }
      opening++
      const { backlog, since, types } = request.query
      const feed = await EventFeed.open(service, { backlog, since, types: typesOf(types) }).finally(
        () => opening--,
      )
      feeds.add(feed)
      if (request.bearer) request.whenTokenEnds = reason => feed.finish(reason)
      feed.once('close', () => feeds.delete(feed))
      // However the answer ends: not all ways of answering read what they were given.
      finished(reply.raw, () => feed.destroy())
      reply.header('cache-control', 'no-store').type('application/x-ndjson')
      return reply.send(feed as never)
    },
  )
}

/** @throws ServiceError */
function typesOf(text: string | undefined): string[] | undefined {
  const types = text?.split(',')
  if (
    types === undefined ||
    (types.length <= MAX_PATTERNS && types.every(each => new RegExp(PATTERN).test(each)))
  )
    return types
  throw new ServiceError(
    'invalid',
    `"types" in querystring lists up to ${MAX_PATTERNS} types, such as session-*`,
  )
}
