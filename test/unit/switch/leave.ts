// A program that forgets to stop its switch; run by switch.test.ts.
import { startTestSwitch } from './running.ts'

await startTestSwitch()
process.exit(7)
