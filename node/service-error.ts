// In a file of its own: commands that only ask a running controller need it, and not the schemas.

export type ServiceErrorCode =
  | 'not-found'
  | 'exists'
  | 'invalid'
  | 'refused'
  | 'not-running'
  | 'failed'
  /** No token, or none that is good. */
  | 'unauthenticated'
  /** The token is good, and its scope too narrow. */
  | 'forbidden'
  /** Too many requests. */
  | 'limited'

/** Why a request was refused; the API turns `code` into a status, the CLI prints `message`. */
export class ServiceError extends Error {
  override name = 'ServiceError'
  readonly code: ServiceErrorCode
  constructor(code: ServiceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
