// In a file of its own: commands that only ask a running controller need it, and not the schemas.

/** Why a request was refused; the API turns `code` into a status, the CLI prints `message`. */
export class ServiceError extends Error {
  override name = 'ServiceError'
  readonly code: 'not-found' | 'exists' | 'invalid' | 'refused' | 'not-running' | 'failed'
  constructor(code: ServiceError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
