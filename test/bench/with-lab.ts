// A lab for as long as one measurement takes.
import { Lab } from '../lab/lab.ts'

/** Shows what the programs said when it fails. */
export async function withLab<T>(name: string, work: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await Lab.create(name)
  try {
    return await work(lab)
  } catch (error) {
    process.stderr.write(`${lab.logs(15)}\n`)
    throw error
  } finally {
    await lab.close()
  }
}
