// What is wrong with attachments, as this controller knows it and as the others say.
import type { AttachmentValue, ControllerId } from '../../state/kinds.ts'
import type { Home } from '../home.ts'
import type { Known, PresentTerminator } from './carriage.ts'
import type { IpsecEngine } from './engine.ts'
import type { AttachmentProblem } from './live.ts'
import { type Report, readReport, reportQuestion } from './report.ts'
import { nameOf } from './telling.ts'

/** Problems and SAs in one report. */
const MAX_PROBLEMS = 256
const MAX_SAS = 16

export interface ReportingInit {
  readonly home: Home
  readonly engine: IpsecEngine
  readonly known: ReadonlyMap<string, Known>
  /** All within reach, this one too. */
  readonly present: () => PresentTerminator[]
  /** Those that may dial now; and those that are preferred, though they may be out of reach. */
  readonly candidates: (id: string, value: AttachmentValue) => readonly ControllerId[]
  readonly preferred: (id: string, value: AttachmentValue) => readonly ControllerId[]
  /** Asks another controller; undefined when it does not answer. */
  readonly ask: (controller: ControllerId, about: string) => Promise<string | undefined>
  readonly wallClock: () => number
}

export class Reporting {
  readonly #init: ReportingInit
  readonly #problems = new Map<string, AttachmentProblem>()

  constructor(init: ReportingInit) {
    this.#init = init
  }

  problem(id: string): AttachmentProblem | undefined {
    return this.#problems.get(id)
  }

  /** @returns whether it is another problem than before */
  wentWrong(id: string, text: string): boolean {
    const before = this.#problems.get(id)
    this.#problems.set(id, { at: this.#init.wallClock(), text })
    return before?.text !== text
  }

  solved(id: string): void {
    this.#problems.delete(id)
  }

  /** What this controller answers to others, and to its own operator. */
  async report(id: string | undefined): Promise<Report> {
    const { engine, known, wallClock } = this.#init
    const sas = id === undefined ? [] : await engine.sas().catch(() => [])
    const problems = Object.fromEntries([...this.#problems].slice(0, MAX_PROBLEMS))
    for (const [each, entry] of known) {
      const text = this.#lackOf(each, entry)
      // What the daemon here said of it is worth more than that it does not run.
      if (text?.isOverall && problems[each] !== undefined) continue
      if (text !== undefined) problems[each] = { at: wallClock(), text: text.words }
    }
    return { problems, sas: sas.filter(({ tunnel }) => tunnel === id).slice(0, MAX_SAS) }
  }

  async reports(id?: string): Promise<{ controller: ControllerId; report: Report }[]> {
    const { home, ask } = this.#init
    const others = this.#init.present().filter(each => each.ipsec && each.id !== home.id)
    const told = await Promise.all(
      others.map(async ({ id: controller }) => {
        const text = await ask(controller, reportQuestion(id))
        const report = text === undefined ? undefined : readReport(text)
        return report ? [{ controller, report }] : []
      }),
    )
    return [{ controller: home.id, report: await this.report(id) }, ...told.flat()]
  }

  async latest(id: string): Promise<AttachmentProblem | undefined> {
    const told = (await this.reports()).flatMap(({ report }) => report.problems[id] ?? [])
    return told.sort((a, b) => b.at - a.at).at(0)
  }

  /** Why nobody can carry it, or dial it. */
  #lackOf(id: string, { value, carrier }: Known): { words: string; isOverall: boolean } | undefined {
    const { engine, home } = this.#init
    const preferred = this.#init.preferred(id, value)
    const isForOthers = value.initiate && preferred.length > 0
    if (!this.#init.present().some(({ ipsec }) => ipsec) && engine.problem !== undefined)
      return { words: `no controller in reach can carry it; here: ${engine.problem}`, isOverall: true }
    if (!value.enabled || !isForOthers || carrier !== undefined) return undefined
    if (this.#init.candidates(id, value).length > 0) return undefined
    const names = preferred.map(controller => nameOf(home, controller)).join(', ')
    const words = `no controller that may dial it (${names}) is in reach and able to; \`overmesh ipsec set\` names others`
    return { words, isOverall: false }
  }
}
