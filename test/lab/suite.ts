// A lab for the tests of one file: made before them, shown when one fails, gone after them.
import { after, afterEach, before, type TestContext } from 'node:test'
import { Lab } from './lab.ts'

/** Registers the hooks; the lab is there from the first `before` on. */
export function useLab(name: string, prepare?: (lab: Lab) => Promise<void>): { readonly lab: Lab } {
  let lab: Lab | undefined
  const use = {
    get lab(): Lab {
      if (lab === undefined) throw new Error('the lab is made before the tests')
      return lab
    },
  }
  before(async () => {
    lab = await Lab.create(name)
    try {
      await prepare?.(lab)
    } catch (error) {
      process.stdout.write(`${lab.logs()}\n`)
      throw error
    }
  })
  afterEach(context => {
    // What @types/node lacks as yet: https://nodejs.org/api/test.html#contextpassed
    if (!(context as TestContext & { passed: boolean }).passed) process.stdout.write(`${lab?.logs() ?? ''}\n`)
  })
  after(() => lab?.close())
  return use
}
