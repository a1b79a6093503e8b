// overmesh export, import, diff: the desired state of the mesh as a document.
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import type { Document, DocumentProblem, ReadDocument } from '../desired/document.ts'
import type { DesiredChange, DesiredState, Reconciliation } from '../service-desired.ts'
import { Context } from './context.ts'
import { CommandError, describe, UsageError } from './errors.ts'
import { example } from './help.ts'
import { readInput } from './input.ts'
import type { Output } from './output.ts'
import { intoFile, outputPath } from './output-file.ts'
import { checkDirectory, PackDirectory, packAgain } from './pack-directory.ts'
import { withoutMark } from './secret.ts'
import { formatStored, oneLine, printable } from './text.ts'

/** Bytes of a pre-shared key, with the end of its line. */
const MAX_PSK = 520

interface ImportOptions {
  dryRun?: boolean
  prune?: boolean
  packs?: string
  force?: boolean
}

export function desiredCommands(program: Command): void {
  program
    .command('export')
    .description('the settings, clients, routes and attachments of the mesh as YAML, without any key')
    .option('--out <file>', 'write it there (mode 0600) instead of standard output')
    .option('--force', 'replace that file if it exists')
    .addHelpText('after', example('overmesh export --out mesh.yaml'))
    .action(exportState)
  program
    .command('import')
    .description('make the mesh as a document has it, all of it or nothing')
    .argument('<file>', 'what `overmesh export` writes (- reads standard input)')
    .option('--dry-run', 'say what would change, and change nothing')
    .option('--prune', 'also remove what the document does not name: its clients are revoked, for good')
    .option('--packs <dir>', 'write the clientpacks of new clients there, each as NAME.ovpn (mode 0600)')
    .option('--force', 'replace files of --packs that exist')
    .addHelpText('after', example('overmesh import mesh.yaml --packs packs'))
    .action(importState)
  program
    .command('diff')
    .description('how the mesh differs from a document')
    .argument('<file>', 'what `overmesh export` writes (- reads standard input)')
    .addHelpText('after', '\nExit status, as of diff(1): 0 the same, 1 different, 2 trouble.')
    .addHelpText('after', example('overmesh diff mesh.yaml'))
    .action(diffState)
}

async function exportState(options: { out?: string; force?: boolean }, command: Command): Promise<void> {
  const out = outputPath(options)
  const context = Context.of(command)
  const { writeDocument } = await import('../desired/document.ts')
  const produce = async () => {
    const state = await context.withService(service => service.desiredState())
    return { state, content: Buffer.from(writeDocument(state)) }
  }
  const { state, content } =
    out === undefined ? await produce() : await intoFile(out, options.force === true, 'try again', produce)
  context.output.result(state, () => {
    if (out === undefined) context.output.write(content)
    else context.output.note(`wrote ${out}`)
  })
}

async function importState(file: string, options: ImportOptions, command: Command): Promise<void> {
  const { dryRun = false, prune = false, packs, force = false } = options
  if (packs !== undefined) checkDirectory('--packs', packs)
  if (force && packs === undefined)
    throw new UsageError('--force replaces files of --packs; give --packs DIR')
  const context = Context.of(command)
  const { output } = context
  const { read, desired } = await readDesired(file, output)
  const result = await context.withService(async service => {
    const plan = await service.reconcile({ desired, prune, dryRun: true })
    refuseProblems(file, read, plan, output)
    const directory =
      packs === undefined ? undefined : await PackDirectory.open(packs, newClients(plan), force)
    if (!output.json) printPlan(output, plan, prune)
    if (dryRun) return plan
    await directory?.begin()
    const done = await service.reconcile({ desired, prune })
    refuseProblems(file, read, done, output)
    for (const name of directory ? newClients(done) : [])
      await directory!.write(name, packAgain(name), () => service.packClient(name, 'ovpn'))
    const late = (await directory?.finish(service)) ?? []
    if (late.length > 0)
      output.note(`${packs} has the clientpacks now that an earlier run did not come to: ${late.join(' ')}`)
    return done
  })
  output.result(result, () => printDone(output, result, dryRun, packs))
}

async function diffState(file: string, _options: unknown, command: Command): Promise<void> {
  const context = Context.of(command)
  const { output } = context
  try {
    const { read, desired } = await readDesired(file, output)
    const plan = await context.withService(service => service.reconcile({ desired, dryRun: true }))
    refuseProblems(file, read, plan, output)
    output.result(plan, () => printPlan(output, plan, false))
    if (plan.changes.length > 0) process.exitCode = 1
  } catch (error) {
    // Status 1 says that they differ.
    throw error instanceof CommandError || error instanceof UsageError
      ? new UsageError(error.message)
      : new UsageError(describe(error), { cause: error })
  }
}

async function readDesired(
  file: string,
  output: Output,
): Promise<{ read: ReadDocument; desired: DesiredState }> {
  const { MAX_DOCUMENT_BYTES, readDocument } = await import('../desired/document.ts')
  const read = readDocument(await readInput(file, 'a desired state', MAX_DOCUMENT_BYTES))
  const problems = [...read.problems]
  const desired = read.document && withSecrets(read.document, file, read, problems)
  if (desired === undefined || problems.length > 0) throw refused(file, problems, output)
  return { read, desired }
}

/** Pre-shared keys come from files beside the document. */
function withSecrets(
  document: Document,
  file: string,
  read: ReadDocument,
  problems: DocumentProblem[],
): DesiredState {
  const base = file === '-' ? process.cwd() : dirname(resolve(file))
  const attachments: DesiredState['attachments'] = {}
  for (const [name, { pskFile, ...rest }] of Object.entries(document.attachments ?? {})) {
    attachments[name] = rest
    if (pskFile === undefined) continue
    try {
      attachments[name].secret = readPsk(resolve(base, pskFile))
    } catch (error) {
      const { code, message: text } = error as NodeJS.ErrnoException
      const message = code === 'ENOENT' ? `there is no file ${pskFile}` : `cannot read ${pskFile} (${text})`
      problems.push({ line: read.lineOf(['attachments', name, 'pskFile']), message })
    }
  }
  return { ...document, ...(document.attachments && { attachments }) }
}

function readPsk(path: string): string {
  if (statSync(path).size > MAX_PSK) throw new Error(`${path} is too large for a pre-shared key`)
  return withoutMark(readFileSync(path)).toString('base64')
}

/** @throws UsageError when there is any */
function refuseProblems(
  file: string,
  read: ReadDocument,
  { problems }: Reconciliation,
  output: Output,
): void {
  if (problems.length === 0) return
  const found = problems.map(({ path, message }) => ({ line: read.lineOf(path), message }))
  throw refused(file, found, output)
}

/** Each problem on a line of its own, and then how many there were. */
function refused(file: string, problems: readonly DocumentProblem[], output: Output): UsageError {
  const once = new Map(problems.map(each => [`${each.line} ${each.message}`, each]))
  const sorted = [...once.values()].sort((a, b) => a.line - b.line)
  if (output.json) output.result({ file, problems: sorted, changes: [], applied: false }, () => {})
  for (const { line, message } of sorted)
    output.note(`${file}${line > 0 ? `:${line}` : ''}: ${oneLine(message)}`)
  const [first] = sorted
  const what = sorted.length === 1 ? 'a problem' : `${sorted.length} problems`
  const where =
    output.json && first ? ` (${first.line > 0 ? `line ${first.line}: ` : ''}${first.message})` : ''
  return new UsageError(`${file} has ${what}${where}; nothing was changed`)
}

function newClients({ changes }: Reconciliation): string[] {
  return changes.flatMap(({ action, kind, name }) => (action === 'add' && kind === 'client' ? [name] : []))
}

const MARKS = {
  add: ['+', 'green'],
  change: ['~', 'yellow'],
  remove: ['-', 'red'],
  extra: ['?', 'dim'],
} as const

function printPlan(output: Output, { changes }: Reconciliation, prune: boolean): void {
  for (const { action, kind, name, details } of changes) {
    const [mark, style] = MARKS[action]
    const what = kind === name ? name : `${kind} ${name}`
    const rest = details.length > 0 ? `: ${details.join('; ')}` : ''
    output.line(
      output.paint(
        style,
        printable(`${mark} ${what}${action === 'extra' ? ' is not in the document' : rest}`),
      ),
    )
  }
  if (!prune && changes.some(({ action }) => action === 'extra'))
    output.note('what is not in the document stays; `overmesh import --prune` removes it')
}

function printDone(output: Output, result: Reconciliation, dryRun: boolean, packs: string | undefined): void {
  const count = (action: DesiredChange['action']) =>
    result.changes.filter(each => each.action === action).length
  const [added, changed, removed] = [count('add'), count('change'), count('remove')]
  if (added + changed + removed === 0) {
    output.line('the mesh is as the document has it')
    return
  }
  const counts = `${added} to add, ${changed} to change, ${removed} to remove`
  if (dryRun) {
    output.line(`${counts}; nothing was changed`)
    return
  }
  output.line(`${added} added, ${changed} changed, ${removed} removed${formatStored(result.storedOn)}`)
  if (newClients(result).length === 0) return
  output.note(
    packs === undefined
      ? '`overmesh client pack NAME` writes the clientpack of a new client'
      : `the clientpacks in ${packs} hold private keys, hand them over safely`,
  )
}
