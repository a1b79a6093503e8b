// What an operator should know of the versions that the controllers of a mesh run: see mesh/versions.ts for what goes together.
import type { ControllerLink } from './service.ts'

type Running = Pick<ControllerLink, 'name' | 'version'>

const RELEASE = /^(\d+)\.(\d+)\.\d+/
/** Controllers named for one version. */
const MAX_NAMES = 5

/** Undefined while all that are in reach run one version. */
export function versionNotice(controllers: readonly Running[]): string | undefined {
  const byVersion = new Map<string, string[]>()
  for (const { name, version } of controllers) {
    if (version === '') continue
    byVersion.set(version, [...(byVersion.get(version) ?? []), name])
  }
  if (byVersion.size < 2) return undefined
  const versions = [...byVersion.keys()].sort(compareReleases)
  const listed = versions.map(version => `${version} on ${namesOf(byVersion.get(version)!)}`).join(', ')
  const [oldest, newest] = [versions[0], versions.at(-1)!]
  return areAdjacent(oldest, newest)
    ? `the controllers run different versions of Overmesh (${listed}); upgrade those of the older`
    : `the controllers run versions of Overmesh that are too far apart (${listed}): only adjacent ones are made to run ` +
        `together; upgrade those of ${oldest}, one minor version after the other`
}

/** Of equal or consecutive minor versions, or the first of the next major one. What is no release is taken for adjacent. */
export function areAdjacent(older: string, newer: string): boolean {
  const [a, b] = [releaseOf(older), releaseOf(newer)]
  if (a === undefined || b === undefined) return true
  return a.major === b.major ? b.minor - a.minor <= 1 : b.major - a.major === 1 && b.minor === 0
}

function compareReleases(a: string, b: string): number {
  const [one, other] = [releaseOf(a), releaseOf(b)]
  if (one === undefined || other === undefined) return a < b ? -1 : 1
  return one.major - other.major || one.minor - other.minor || a.localeCompare(b, 'en', { numeric: true })
}

function releaseOf(version: string): { major: number; minor: number } | undefined {
  const [, major, minor] = RELEASE.exec(version) ?? []
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) }
}

function namesOf(names: readonly string[]): string {
  const listed = names.slice(0, MAX_NAMES).join(' and ')
  return names.length > MAX_NAMES
    ? `${names.slice(0, MAX_NAMES).join(', ')} and ${names.length - MAX_NAMES} more`
    : listed
}
