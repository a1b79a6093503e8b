#!/usr/bin/env node
// The launcher: plain JavaScript, so that an older Node says what is wrong instead of failing on syntax.
import { existsSync } from 'node:fs'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `overmesh: Node ${process.versions.node} is too old; use Node 24 (22.18 or newer works), ` +
      'or run it from a checkout by `npx overmesh`, which brings its own\n',
  )
  process.exit(1)
}
// A controller runs for long, and its packets come one by one: with its code on large pages, the processor finds it sooner.
const flag = '--use-largepages'
const { execArgv, env } = process
const isTold = [...execArgv, env.NODE_OPTIONS ?? ''].some(text => text.includes(flag))
if (process.argv.includes('up', 2) && !isTold && process.execve !== undefined)
  process.execve(process.execPath, [
    process.execPath,
    `${flag}=silent`,
    ...execArgv,
    ...process.argv.slice(1),
  ])
const source = new URL('./main.ts', import.meta.url)
const compiled = new URL('../../dist/node/cli/main.js', import.meta.url)
const { main } = await import(existsSync(source) ? source.href : compiled.href)
await main(process.argv)
