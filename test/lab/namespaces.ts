// Network namespaces of this run, and those that a run which was killed left behind. Names are `omlab<pid>-<host>`: the pid is
// that of the test process, so that runs do not meet, and the remains of a dead one can be told.
import { readdirSync } from 'node:fs'
import { runNow } from './command.ts'

const PREFIX = 'omlab'

export const namespaceName = (lab: string, host: string): string => `${PREFIX}${process.pid}-${lab}-${host}`

function existingNamespaces(): string[] {
  try {
    return readdirSync('/run/netns')
  } catch {
    return [] // no namespace was ever made on this machine
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Ends whatever still runs in a namespace and deletes it, without waiting for the event loop. */
export function deleteNamespaceNow(namespace: string): void {
  for (const pid of runNow('ip', 'netns', 'pids', namespace).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // it ended by itself meanwhile
    }
  }
  runNow('ip', 'netns', 'delete', namespace)
}

/** Removes the namespaces of test processes that no longer run. */
export function sweepStaleLabs(): void {
  for (const namespace of existingNamespaces()) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(namespace)?.[1]
    if (pid !== undefined && !isAlive(Number(pid))) deleteNamespaceNow(namespace)
  }
}
