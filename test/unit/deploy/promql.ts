// What an expression of PromQL names (prometheus.io/docs/prometheus/latest/querying/basics): as much of the language as the
// dashboard and the alerts use. Whether it means something, `promtool check rules` says.

export interface Selector {
  metric: string
  matchers: { label: string; operator: string; value: string }[]
  /** The functions around it, outermost first. */
  within: string[]
}

export interface Names {
  selectors: Selector[]
  /** Of `by`, `on` and the like. */
  labels: string[]
}

const GROUPING = ['by', 'on', 'group_left']
const OPERATORS = ['and', 'or', 'unless']
const FUNCTIONS = [
  ...['sum', 'max', 'min', 'count', 'topk', 'absent', 'vector', 'time'],
  ...['rate', 'increase', 'changes', 'max_over_time', 'histogram_quantile'],
]

const TOKEN =
  /\s*(?:("(?:[^"\\]|\\.)*")|\[([^\]]+)\]|([a-zA-Z_:][\w:]*)|(\d+(?:\.\d+)?)|([=!]~|[=!<>]=|[-+*/%(){},<>=]))/y
const RANGE = /^(\d+[smhd]|\$__rate_interval)$/

type Token = { kind: 'string' | 'range' | 'word' | 'number' | 'sign'; text: string }

/** @throws Error that says what it does not know */
export function readNames(expression: string): Names {
  const tokens = tokensOf(expression)
  const names: Names = { selectors: [], labels: [] }
  const open: string[] = []
  let at = 0
  const fail = (what: string): never => {
    throw new Error(`${what}: ${expression}`)
  }
  const isNext = (text: string) => tokens[at]?.text === text
  const take = (kind: Token['kind']): string => {
    const token = tokens[at++]
    return token?.kind === kind ? token.text : fail(`a ${kind} is missing`)
  }
  const list = (close: string, each: () => void): void => {
    for (at++; !isNext(close); ) {
      each()
      if (isNext(',')) at++
    }
    at++
  }
  while (at < tokens.length) {
    const { kind, text } = tokens[at++]
    if (text === '(') open.push('')
    else if (text === ')') open.pop() ?? fail('a bracket is too many')
    if (kind !== 'word' || OPERATORS.includes(text)) continue
    if (GROUPING.includes(text) && isNext('(')) {
      list(')', () => names.labels.push(take('word')))
    } else if (FUNCTIONS.includes(text)) {
      if (isNext('(')) {
        at++
        open.push(text)
      } else if (!isNext('by')) fail(`${text} is called without brackets`)
    } else if (isNext('(')) {
      fail(`${text} is no function that is known here`)
    } else {
      const selector: Selector = { metric: text, matchers: [], within: open.filter(Boolean) }
      if (isNext('{')) {
        list('}', () => {
          const label = take('word')
          selector.matchers.push({ label, operator: take('sign'), value: JSON.parse(take('string')) })
        })
      }
      names.selectors.push(selector)
    }
  }
  if (open.length > 0) fail('a bracket is not closed')
  return names
}

function tokensOf(expression: string): Token[] {
  const text = expression.trim()
  const tokens: Token[] = []
  const kinds = ['string', 'range', 'word', 'number', 'sign'] as const
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const place = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (match === null) throw new Error(`"${text.slice(place, place + 20)}" is not understood: ${text}`)
    const index = kinds.findIndex((_, i) => match[i + 1] !== undefined)
    const token = { kind: kinds[index], text: match[index + 1] }
    if (token.kind === 'range' && !RANGE.test(token.text))
      throw new Error(`${token.text} is no range: ${text}`)
    tokens.push(token)
  }
  return tokens
}
