// `npm run test:docker`: the images and docker-compose.mesh.yml on a real Docker engine. Exit status 3 where there is none and
// none can be started, with what is missing.

import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { Engine, NoEngine } from './engine.ts'

const say = (line: string): void => void process.stdout.write(`${line}\n`)

try {
  await (await Engine.open(say)).close()
} catch (error) {
  if (!(error instanceof NoEngine)) throw error
  process.stderr.write(`npm run test:docker: ${error.message}\n`)
  process.exit(3)
}
run({ files: [join(import.meta.dirname, 'compose.test.ts')], timeout: 15 * 60_000 })
  .on('test:fail', () => {
    process.exitCode = 1
  })
  .compose(new spec())
  .pipe(process.stdout)
