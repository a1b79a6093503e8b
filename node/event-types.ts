// Which events somebody wants: by name, or all whose names begin alike.
import { EVENT_TYPES } from './events.ts'

/** Patterns at a time. */
export const MAX_PATTERNS = 64

/** What is wrong with a pattern, such as `session-up` or `session-*`, in words; undefined when nothing is. */
export function patternProblem(text: string): string | undefined {
  if (EVENT_TYPES.some(type => matches([text], type))) return undefined
  return `'${text.slice(0, 64)}' is no type of event; there are ${EVENT_TYPES.join(', ')}, and * for the rest of a name: session-*`
}

/** Newer versions may know types that this one does not: only the patterns' form is strict here. */
export const PATTERN = '^(\\*|[a-z0-9-]{1,63}\\*?)$'

export function matches(patterns: readonly string[], type: string): boolean {
  return patterns.some(pattern =>
    pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern,
  )
}
