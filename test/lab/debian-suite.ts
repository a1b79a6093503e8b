// Programs of other Debian releases than the machine's: the packages of a suite are fetched by the machine's own apt from its own
// mirror, checked against Debian's keys, and unpacked beside the system. Nothing is installed. What was fetched stays for later runs.
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { attempt, run } from './command.ts'

/** Unpacked suites, to be deleted at any time. */
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'overmesh-lab')
/** After so long a suite is asked for newer packages. */
const FRESH_MS = 14 * 86_400_000
const FETCHED = '.fetched'
const KEYS = [
  '/usr/share/keyrings/debian-archive-keyring.gpg',
  '/usr/share/keyrings/debian-archive-keyring.pgp',
]
/** Takes the place of the machine's mirror. */
const MIRROR = 'OVERMESH_DEBIAN_MIRROR'

/** The mirror no longer has the suite. */
export class SuiteGone extends Error {
  override name = 'SuiteGone'
}

/**
 * Packages of a Debian suite with all that they depend on, in a directory to run them in by {@link inRoot}.
 * @param suite a codename: those stay, while `stable` moves on
 * @throws SuiteGone
 */
export async function fetchDebian(suite: string, packages: readonly string[]): Promise<string> {
  const key = createHash('sha256')
    .update([...packages].sort().join())
    .digest('hex')
    .slice(0, 8)
  const root = join(CACHE, `${suite}-${key}`)
  const age = existsSync(join(root, FETCHED)) ? Date.now() - statSync(join(root, FETCHED)).mtimeMs : undefined
  if (age !== undefined && age < FRESH_MS) return root
  mkdirSync(CACHE, { recursive: true, mode: 0o700 })
  const work = mkdtempSync(join(CACHE, `.${suite}-`))
  try {
    await fetch(suite, packages, work)
    // Another test may have been as quick.
    rmSync(root, { recursive: true, force: true })
    renameSync(join(work, 'root'), root)
  } catch (error) {
    if (age === undefined) throw error
    process.stdout.write(
      `what was fetched of Debian ${suite} before is used once more: ${(error as Error).message}\n`,
    )
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return root
}

async function fetch(suite: string, packages: readonly string[], work: string): Promise<void> {
  const keys = KEYS.find(file => existsSync(file))
  if (keys === undefined) throw new Error("Debian's keys are missing: apt-get install debian-archive-keyring")
  const sources = join(work, 'sources.list')
  writeFileSync(sources, `deb [signed-by=${keys}] ${await mirror()} ${suite} main\n`)
  writeFileSync(join(work, 'status'), '')
  for (const each of ['lists/partial', 'archives/partial']) mkdirSync(join(work, each), { recursive: true })
  // The rest, such as a proxy, is as the machine has it.
  const own = {
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State': work,
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': work,
    'Dir::Cache::archives': join(work, 'archives'),
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    'APT::Sandbox::User': 'root',
  }
  const settings = Object.entries(own).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  const aptGet = async (...args: string[]): Promise<void> => {
    const { code, stdout, stderr } = await attempt(['apt-get', '-q', ...settings, ...args], {
      timeout: 300_000,
    })
    if (code === 0) return
    const words = `${stdout}${stderr}`.trim().split('\n').slice(-8).join('\n')
    const Kind = /does not have a Release file|404 +Not Found/.test(words) ? SuiteGone : Error
    throw new Kind(
      `packages of Debian ${suite} cannot be fetched; see to it that the machine's apt reaches a mirror of Debian that has them, or name one in ${MIRROR}. apt-get ${args[0]} said:\n${words}`,
    )
  }
  await aptGet('update', '--error-on=any')
  await aptGet('install', '--download-only', '-y', '--no-install-recommends', ...packages)
  const root = join(work, 'root')
  mkdirSync(root)
  for (const file of readdirSync(join(work, 'archives'))) {
    if (file.endsWith('.deb')) await run(['dpkg-deb', '--extract', join(work, 'archives', file), root])
  }
  // Since Debian 12 packages take these for links.
  for (const each of ['bin', 'sbin', 'lib', 'lib64'])
    if (!existsSync(join(root, each))) symlinkSync(`usr/${each}`, join(root, each))
  for (const each of ['dev', 'proc', 'sys', 'run', 'etc', tmpdir().slice(1)])
    mkdirSync(join(root, each), { recursive: true })
  writeFileSync(join(root, FETCHED), `${packages.join(' ')}\n`)
}

/** From where the machine fetches its own packages; where that is no Debian, it must be told. */
async function mirror(): Promise<string> {
  const named = process.env[MIRROR]
  if (named !== undefined && named !== '') return named
  const format = '$(REPO_URI) $(COMPONENT)'
  const { stdout } = await attempt(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages'])
  const found = /^(\S+\/debian\/) main$/m.exec(stdout)?.[1]
  if (found === undefined)
    throw new Error(`this machine's apt has no mirror of Debian; name one in ${MIRROR}`)
  return found
}

/**
 * The command line that runs a program of {@link fetchDebian}'s directory, which sees the machine's devices and temporary files and
 * keeps its pid. To be run on a host: mounts that are made there end with the program.
 */
export function inRoot(root: string, argv: readonly string[]): string[] {
  const temporary = tmpdir()
  const script = [
    'root=$1; shift',
    ...['/dev', '/proc', '/sys', temporary].map(each => `mount --rbind ${each} "$root${each}"`),
    'exec chroot "$root" "$@"',
  ].join('\n')
  return ['sh', '-euc', script, 'sh', root, ...argv]
}
