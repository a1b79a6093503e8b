// Help that can be used as it stands.

/** The part of a command's help that can be pasted. */
export function example(...lines: string[]): string {
  return `\nExample:\n${lines.map(line => `  ${line}\n`).join('')}`
}
