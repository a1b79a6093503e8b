// How a refusal travels over the API: one body for every error, a status by its code, one sentence for a person.
import { getSystemErrorMap } from 'node:util'
import type { FastifyError, FastifySchemaValidationError } from 'fastify'
import { type Static, Type } from 'typebox'
import { ServiceError } from '../service-error.ts'

export const ErrorCode = Type.Union([
  Type.Literal('not-found'),
  Type.Literal('exists'),
  Type.Literal('invalid'),
  Type.Literal('refused'),
  Type.Literal('not-running'),
  Type.Literal('failed'),
  Type.Literal('unauthenticated'),
  Type.Literal('forbidden'),
  Type.Literal('limited'),
])

export const ErrorBody = Type.Object(
  {
    error: Type.Object({
      code: ErrorCode,
      message: Type.String({ description: 'what is wrong, and what to do' }),
    }),
  },
  { description: 'The request was refused or failed.' },
)
export type ErrorBody = Static<typeof ErrorBody>

const STATUS: Record<ServiceError['code'], number> = {
  invalid: 400,
  'not-found': 404,
  exists: 409,
  refused: 409,
  'not-running': 503,
  failed: 500,
  unauthenticated: 401,
  forbidden: 403,
  limited: 429,
}

export interface Refusal {
  status: number
  body: ErrorBody
}

/** What to answer for an error thrown while a request was handled. Nothing internal leaks but for `failed`'s message. */
export function refusal(error: unknown): Refusal {
  if (error instanceof ServiceError) return refuse(error.code, error.message)
  const http = error as Partial<FastifyError>
  if (http.validation) return refuse('invalid', validationSentence(http.validation, http.validationContext))
  if (http.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return { ...refuse('invalid', 'the request body is too large'), status: 413 }
  }
  if (http.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return { ...refuse('invalid', 'the request body must be application/json'), status: 415 }
  }
  if (http.statusCode !== undefined && http.statusCode >= 400 && http.statusCode < 500) {
    return { ...refuse('invalid', sentence(http.message ?? 'bad request')), status: http.statusCode }
  }
  const reason = refusedByMachine(error)
  if (reason !== undefined) {
    return refuse(
      'failed',
      `the machine of the controller did not let it (${reason}); put that right, then try again; the controller's log says more`,
    )
  }
  return refuse('failed', 'the controller failed to handle the request; its log says why')
}

/** Whose remedy is on the machine: its disk, its limits, who owns what. */
const OF_THE_MACHINE = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE'])

/** In the system's words, without what it was tried on. */
function refusedByMachine(error: unknown): string | undefined {
  const { code, errno } = error as NodeJS.ErrnoException
  if (code === undefined || errno === undefined || !OF_THE_MACHINE.has(code)) return undefined
  return getSystemErrorMap().get(errno)?.[1] ?? code
}

export function refuse(code: ServiceError['code'], message: string): Refusal {
  return { status: STATUS[code], body: { error: { code, message } } }
}

/** The first schema error as one sentence: `body: "ip" must be string`. */
export function validationSentence(
  errors: readonly FastifySchemaValidationError[],
  context = 'request',
): string {
  const first = errors.find(error => error.keyword !== 'anyOf') ?? errors[0]
  if (first === undefined) return `${context} is not valid`
  const path = first.instancePath.split('/').slice(1).join('.')
  const subject = path === '' ? context : `"${path}" in ${context}`
  const params = first.params as Record<string, unknown>
  if (first.keyword === 'additionalProperties') {
    return sentence(`${subject} has a property that is not known: ${list(params.additionalProperties)}`)
  }
  if (first.keyword === 'boolean' && path !== '') return sentence(`${subject} is not known`)
  if (first.keyword === 'required') {
    return sentence(`${subject} lacks ${list(params.requiredProperties ?? params.missingProperty)}`)
  }
  return sentence(`${subject} ${first.message ?? 'is not valid'}`)
}

function list(value: unknown): string {
  return (Array.isArray(value) ? value : [value])
    .slice(0, 5)
    .map(item => `"${item}"`)
    .join(', ')
}

/** One line of bounded length, whatever a client put into it. */
function sentence(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').slice(0, 500)
}
