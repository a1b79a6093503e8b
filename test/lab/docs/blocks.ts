// The commands in a Markdown page: fenced blocks of shell, in order. The word after `sh` says on which host of the lab a block
// runs; `elsewhere` marks what no lab can run, such as the start of a service, and another test does.

export interface Command {
  /** One command, joined where it was continued by a backslash, without its comment lines. */
  text: string
  /** Name of a host, `elsewhere`, or empty: the page's first. */
  where: string
  /** Of the page, from 1. */
  line: number
}

const FENCE = /^\s*```(\S*)[ \t]*(.*)$/

/** All commands of a page. A fence that is not closed ends with the page. */
export function commandsOf(markdown: string): Command[] {
  const commands: Command[] = []
  let where: string | undefined
  let inBlock = false
  let pending = ''
  let begun = 0
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = FENCE.exec(line)
    if (fence) {
      where = !inBlock && fence[1] === 'sh' ? fence[2].trim() : undefined
      inBlock = !inBlock
      pending = ''
    } else if (where !== undefined) {
      const text = line.trim()
      if (pending === '') begun = index + 1
      if (text === '' || (pending === '' && text.startsWith('#'))) continue
      if (text.endsWith('\\')) pending += `${text.slice(0, -1).trimEnd()} `
      else {
        commands.push({ text: pending + text, where, line: begun })
        pending = ''
      }
    }
  }
  return commands
}

/** Without the comment at its end, as a shell would read it; quotes and backslashes are respected. */
export function withoutComment(text: string): string {
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (quote !== "'" && char === '\\') i++
    else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === "'" || char === '"') quote = char
    else if (char === '#' && (i === 0 || /\s/.test(text[i - 1]))) return text.slice(0, i).trimEnd()
  }
  return text.trimEnd()
}
