// `node checkout.js FILE…` runs a TypeScript file of the checkout: plain JavaScript, so that an older Node says what is wrong.
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `overmesh: Node ${process.versions.node} is too old, and this checkout has no Node of its own: npm was told to run no scripts; ` +
      'run `npm rebuild node --ignore-scripts=false`, or use Node 24 (22.18 or newer works)\n',
  )
  process.exit(1)
}
if (!process.features.typescript) {
  process.stderr.write(
    `overmesh: this Node ${process.versions.node} runs no TypeScript (Debian builds one without it), and this checkout has no Node of its own; ` +
      'run `npm rebuild node --ignore-scripts=false`, or use one from nodejs.org\n',
  )
  process.exit(1)
}
process.argv.splice(1, 1)
await import(pathToFileURL(resolve(process.argv[1])).href)
