// Which events somebody wants: by name, or all whose names begin alike.
import { EVENT_TYPES } from './events.ts'

/** Patterns at a time. */
export const MAX_PATTERNS = 64
/** Characters of what is no type that are repeated to whoever wrote it. */
const MAX_TYPE = 64
/** Slips of the hand. */
const MAX_EDITS = 2

/** What is wrong with a pattern, such as `session-up` or `session-*`, in words; undefined when nothing is. */
export function patternProblem(text: string): string | undefined {
  if (EVENT_TYPES.some(type => matches([text], type))) return undefined
  const short = text.slice(0, MAX_TYPE)
  const meant = EVENT_TYPES.find(type => edits(short, type) <= MAX_EDITS)
  const hint = meant
    ? `did you mean ${meant}?`
    : `there are ${EVENT_TYPES.join(', ')}, and * for the rest of a name: session-*`
  return `'${short}' is no type of event; ${hint}`
}

/** Characters to put in, leave out or change to make one word of another (Levenshtein's distance). */
function edits(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (const [i, char] of [...from].entries()) {
    const next = [i + 1]
    for (let j = 0; j < to.length; j++)
      next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + (to[j] === char ? 0 : 1)))
    row = next
  }
  return row[to.length]
}

/** Newer versions may know types that this one does not: only the patterns' form is strict here. */
export const PATTERN = '^(\\*|[a-z0-9-]{1,63}\\*?)$'

export function matches(patterns: readonly string[], type: string): boolean {
  return patterns.some(pattern =>
    pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern,
  )
}
