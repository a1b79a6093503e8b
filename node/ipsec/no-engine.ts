// Where this controller cannot terminate attachments at all: it says why, and learns from the others who carries them.
import { type IpsecEngine, IpsecError } from './engine.ts'

export class NoEngine implements IpsecEngine {
  readonly state = 'off'
  readonly problem: string
  readonly esp = undefined
  readonly device = undefined
  readonly refusedPackets = undefined
  onState: () => void = () => {}
  onUp: () => void = () => {}
  onDown: () => void = () => {}
  onProblem: () => void = () => {}

  constructor(problem: string) {
    this.problem = problem
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async set(): Promise<void> {}
  async terminate(): Promise<void> {}

  async initiate(): Promise<void> {
    throw new IpsecError(this.problem)
  }

  async sas(): Promise<[]> {
    return []
  }
}
