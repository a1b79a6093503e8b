// Standard output and error of one command: a person's text or one JSON document, never both.
import { styleText } from 'node:util'
import { jsonText, printable } from './text.ts'

type Style = Parameters<typeof styleText>[0]

export interface Column<Row> {
  title: string
  value: (row: Row) => string
  /** @default left */
  align?: 'right'
  /** Colour of a cell on a terminal. */
  style?: (row: Row) => Style | undefined
}

export class Output {
  /** Of the process: it has one standard output. */
  static #ifLost: string | undefined
  readonly #stdout: NodeJS.WriteStream
  readonly #stderr: NodeJS.WriteStream
  readonly json: boolean

  constructor(json: boolean, stdout = process.stdout, stderr = process.stderr) {
    this.json = json
    this.#stdout = stdout
    this.#stderr = stderr
  }

  /** Somebody looks at standard output. */
  get interactive(): boolean {
    return this.#stdout.isTTY === true
  }

  /** Colours are for terminals, unless NO_COLOR (https://no-color.org) or a dumb terminal says no. */
  get coloured(): boolean {
    return this.interactive && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
  }

  paint(style: Style | undefined, text: string): string {
    return style !== undefined && this.coloured ? styleText(style, text, { validateStream: false }) : text
  }

  /** The answer of a command: `value` with --json, otherwise what `text` prints. */
  result(value: unknown, text: () => void): void {
    if (this.json) this.write(`${jsonText(value, 2)}\n`)
    else text()
  }

  line(text = ''): void {
    this.write(`${text}\n`)
  }

  /** For a person beside the answer: on standard error, so that the answer can be piped; not with --json. */
  note(text: string): void {
    if (!this.json) this.#stderr.write(`${printable(text)}\n`)
  }

  write(content: string | Uint8Array): void {
    this.#stdout.write(content)
  }

  /** What is to be done if standard output, from now on, cannot be written: what was made is lost with it otherwise. */
  static get ifLost(): string | undefined {
    return Output.#ifLost
  }

  ifLost(advice: string): void {
    Output.#ifLost = advice
  }

  /** Aligned columns under their titles; `empty` where there are no rows. */
  table<Row>(columns: Column<Row>[], rows: readonly Row[], empty: string): void {
    if (rows.length === 0) {
      this.note(empty)
      return
    }
    const cells = rows.map(row => columns.map(column => printable(column.value(row)) || '-'))
    const widths = columns.map((column, index) =>
      cells.reduce((width, line) => Math.max(width, line[index].length), column.title.length),
    )
    const render = (line: string[], paint: (index: number, text: string) => string) =>
      line
        .map((cell, index) => {
          const gap = ' '.repeat(widths[index] - cell.length)
          const painted = paint(index, cell)
          if (columns[index].align === 'right') return gap + painted
          return index === line.length - 1 ? painted : painted + gap
        })
        .join('  ')
    this.line(
      render(
        columns.map(column => column.title),
        (_, text) => this.paint('bold', text),
      ),
    )
    for (const [row, line] of cells.entries()) {
      this.line(render(line, (index, text) => this.paint(columns[index].style?.(rows[row]), text)))
    }
  }

  /** `label: value` lines with aligned values. */
  facts(pairs: [label: string, value: string][]): void {
    const width = Math.max(...pairs.map(([label]) => label.length))
    for (const [label, value] of pairs) {
      this.line(`${this.paint('bold', label)}${' '.repeat(width - label.length)}  ${printable(value) || '-'}`)
    }
  }
}
