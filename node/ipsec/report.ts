// What one controller tells another of attachments when it is asked: what went wrong there, and the SAs of one.
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { MAX_ANSWER } from '../../mesh/messages.ts'
import { MAX_TIME } from '../../state/clock.ts'
import { IkeSaEntry } from '../service-ipsec.ts'
import type { IkeSa } from './engine.ts'
import type { AttachmentProblem } from './live.ts'

export interface Report {
  readonly problems: Readonly<Record<string, AttachmentProblem>>
  readonly sas: readonly IkeSa[]
}

const ABOUT = 'attachments'
const MAX_ENTRIES = 256
const validator = Compile(
  Type.Object({
    problems: Type.Record(
      Type.String({ maxLength: 16 }),
      Type.Object({
        at: Type.Number({ minimum: 0, maximum: MAX_TIME }),
        text: Type.String({ maxLength: 1024 }),
      }),
      { maxProperties: MAX_ENTRIES },
    ),
    sas: Type.Array(IkeSaEntry, { maxItems: MAX_ENTRIES }),
  }),
)

/** @param id of the attachment whose SAs are asked for; undefined: none's */
export function reportQuestion(id: string | undefined): string {
  return id === undefined ? ABOUT : `${ABOUT} ${id}`
}

/** The attachment's id, or `none`; undefined when the question is another. */
export function readQuestion(about: string): { id: string | undefined } | undefined {
  const [topic, id] = about.split(' ', 2)
  return topic === ABOUT ? { id } : undefined
}

/** As text; without SAs where they would be too much for an answer. */
export function writeReport(report: Report): string {
  const text = JSON.stringify(report)
  return text.length <= MAX_ANSWER ? text : JSON.stringify({ problems: {}, sas: [] } satisfies Report)
}

/** Undefined for what no honest controller writes. */
export function readReport(text: string): Report | undefined {
  try {
    const report: unknown = JSON.parse(text)
    return validator.Check(report) ? (report as Report) : undefined
  } catch {
    return undefined
  }
}
