// Writes clients into the store named on the command line until it is killed, and says the number of each one written.
import { StateError } from '../../../state/errors.ts'
import { LevelStore } from '../../../state/level-store.ts'
import { clientOp, leaseOp, openReplica } from './samples.ts'

try {
  const { replica } = await openReplica(0, await LevelStore.open(process.argv[2], { create: false }))
  for (;;) {
    const number = [...replica.all('client')].length + 1
    await replica.write([clientOp(number), leaseOp(`10.77.${number >> 8}.${number & 255}`, number)])
    process.stdout.write(`${number}\n`)
  }
} catch (error) {
  if (!(error instanceof StateError)) throw error
  process.stdout.write(`${error.code} ${error.message}\n`)
}
