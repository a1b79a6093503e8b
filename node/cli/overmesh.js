#!/usr/bin/env node
// The launcher: plain JavaScript, so that an older Node says what is wrong instead of failing on syntax.
import { existsSync, statSync } from 'node:fs'
import module from 'node:module'
import { fileURLToPath } from 'node:url'

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
// Commands are many and short: what one has compiled, the next need not. Only where whoever runs them has installed them, so that
// nobody runs what others have compiled, or finds files there that are not theirs.
const installed = new URL('../../node_modules/', import.meta.url)
const owner = statSync(installed, { throwIfNoEntry: false })?.uid
if (owner === process.getuid?.())
  module.enableCompileCache(fileURLToPath(new URL('.cache/overmesh', installed)))
const source = new URL('./main.ts', import.meta.url)
const compiled = new URL('../../dist/node/cli/main.js', import.meta.url)
const { main } = await import(existsSync(source) ? source.href : compiled.href)
await main(process.argv)
