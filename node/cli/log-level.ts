// What `--log-level` takes. Apart from the log itself, which commands other than `up` need not load.

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
