// /v1/captures: packets of the overlay as a pcapng file that grows. Whoever may do this sees what clients send.
import { Readable } from 'node:stream'
import { Type } from 'typebox'
import { CAPTURE_ID, CAPTURE_SECONDS } from '../capture/limits.ts'
import type { ControllerService } from '../service.ts'
import { CaptureRequest } from '../service-capture.ts'
import { ErrorBody } from './errors.ts'
import { type Api, responses } from './schemas.ts'
import { SLOW_MS } from './scopes.ts'

/** Not registered with IANA; what Wireshark's own desktop files name it. */
export const CAPTURE_TYPE = 'application/x-pcapng'

const tags = ['captures']

/** While no packet is one of those asked for, nothing is sent; and then the rest has to be taken. */
function quietMs({ seconds = CAPTURE_SECONDS.default }: CaptureRequest): number {
  return seconds * 1000 + SLOW_MS
}

export function captureRoutes(app: Api, service: ControllerService): void {
  const running = new Set<number>()
  app.addHook('preClose', async () => {
    for (const id of running) await service.endCapture(id, 'stopping')
  })
  app.post(
    '/v1/captures',
    {
      config: { scope: 'admin', quietMs: request => quietMs(request.body as CaptureRequest) },
      schema: {
        tags,
        summary: 'Capture packets, for as long as the answer is read; by default their headers only',
        body: CaptureRequest,
        response: {
          200: { content: { [CAPTURE_TYPE]: { schema: Type.String({ format: 'binary' }) } } },
          '4xx': ErrorBody,
          '5xx': ErrorBody,
        },
      },
    },
    async (request, reply) => {
      const { id, content } = await service.capture(request.body)
      const stream = content instanceof Readable ? content : Readable.from(content, { objectMode: false })
      running.add(id)
      stream.once('close', () => running.delete(id))
      reply.header('cache-control', 'no-store').header(CAPTURE_ID, id).type(CAPTURE_TYPE)
      return reply.send(stream as never)
    },
  )
  app.post(
    '/v1/captures/:id/end',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'End a capture: what was captured until now still comes, and the end of the file',
        params: Type.Object({
          id: Type.Integer({ minimum: 1, description: 'from the header overmesh-capture' }),
        }),
        response: responses(Type.Object({ ended: Type.Boolean() })),
      },
    },
    request => service.endCapture(request.params.id),
  )
}
