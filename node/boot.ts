// Numbers the starts of a controller: what it told of its sessions in an earlier life is void, even if its clock was set back.
import type { DataDirectory } from './data-directory.ts'

/** Larger than that of any start before; as a rule the time, ms since 1970. On disk when this resolves. */
export async function nextBoot(directory: DataDirectory, now: number): Promise<number> {
  const before = Number((await directory.readIfThere(directory.bootFile))?.trim() ?? 0)
  const boot = Number.isSafeInteger(before) ? Math.max(now, before + 1) : now
  await directory.write(directory.bootFile, `${boot}\n`)
  return boot
}
