// The syntax of OpenVPN's configuration files: options by lines, words with quotes, blocks between tags.
// Source: openvpn(8), "INLINE FILE SUPPORT"; OpenVPN src/openvpn/options_parse.c.

/** Characters read at most. */
const MAX_TEXT = 256 * 1024
const MAX_LINES = 8192
/** As in OpenVPN: the option and 15 parameters. */
const MAX_WORDS = 16

export class ProfileError extends Error {
  readonly code = 'BAD_PROFILE'
  /** From 1; undefined when something is missing as a whole. */
  readonly line: number | undefined

  constructor(message: string, line?: number) {
    super(line === undefined ? message : `line ${line}: ${message}`)
    this.name = 'ProfileError'
    this.line = line
  }
}

export interface ConfigOption {
  name: string
  parameters: string[]
  /** From 1. */
  line: number
  /** The text between `<name>` and `</name>`. */
  block?: string
}

/** All options in order. @throws ProfileError */
export function readConfig(text: string): ConfigOption[] {
  if (text.length > MAX_TEXT) throw new ProfileError(`longer than ${MAX_TEXT} characters`)
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  if (lines.length > MAX_LINES) throw new ProfileError(`more than ${MAX_LINES} lines`)
  const options: ConfigOption[] = []
  for (let at = 0; at < lines.length; at++) {
    const line = at + 1
    const tag = /^\s*<([A-Za-z0-9-]{1,32})>\s*$/.exec(lines[at])?.[1]
    if (tag === undefined) {
      const [name, ...parameters] = words(lines[at], line)
      if (name !== undefined) options.push({ name: name.replace(/^--/, ''), parameters, line })
      continue
    }
    const end = lines.findIndex((each, i) => i > at && each.trim() === `</${tag}>`)
    if (end < 0) throw new ProfileError(`<${tag}> is not closed`, line)
    options.push({ name: tag, parameters: [], line, block: `${lines.slice(at + 1, end).join('\n')}\n` })
    at = end
  }
  return options
}

/** Words of a line: `'…'` literally, `"…"` and bare words with backslash escapes, comments after `#` or `;`. */
function words(text: string, line: number): string[] {
  const found: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (quote !== '' && char === quote) quote = ''
    else if (quote === "'") word += char
    else if (char === '\\') {
      if (++i === text.length) throw new ProfileError('a backslash at the end', line)
      word = (word ?? '') + text[i]
    } else if (quote !== '') word += char
    else if (char === "'" || char === '"') {
      quote = char
      word ??= ''
    } else if (/\s/.test(char)) {
      if (word !== undefined) found.push(word)
      word = undefined
    } else if (word === undefined && (char === '#' || char === ';')) break
    else word = (word ?? '') + char
  }
  if (quote !== '') throw new ProfileError(`a ${quote} is not closed`, line)
  if (word !== undefined) found.push(word)
  if (found.length > MAX_WORDS) throw new ProfileError(`more than ${MAX_WORDS} words`, line)
  return found
}
