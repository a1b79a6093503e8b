// What of strongSwan is installed, and which Debian packages bring what is missing.
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Esp } from './configuration.ts'

const PROGRAM = 'charon-systemd'
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/sbin', '/sbin']
/** The daemon of systems without systemd. */
const OTHER_PROGRAMS = ['/usr/lib/ipsec/charon', '/usr/libexec/ipsec/charon', '/usr/lib/strongswan/charon']
/** Debian and Ubuntu; Fedora; Alpine and Arch. */
const PLUGIN_DIRECTORIES = [
  '/usr/lib/ipsec/plugins',
  '/usr/lib64/strongswan/plugins',
  '/usr/lib/strongswan/plugins',
]

export interface Files {
  exists(path: string): boolean
  /** The full path of a program in PATH, or where administrators' are kept. */
  program(name: string): string | undefined
}

const thisMachine: Files = {
  exists: existsSync,
  program: name =>
    [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...SYSTEM_PATH]
      .map(directory => join(directory, name))
      .find(isExecutable),
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export interface Installation {
  /** Full path of the daemon. */
  readonly program: string | undefined
  /** Debian packages that are missing. */
  readonly missing: readonly string[]
}

export function findInstallation(esp: Esp, files = thisMachine): Installation {
  const program = files.program(PROGRAM) ?? OTHER_PROGRAMS.find(files.exists)
  const plugins = PLUGIN_DIRECTORIES.find(files.exists)
  // Where a system keeps its plugins elsewhere, the daemon itself says what it lacks.
  const lacks = (plugin: string): boolean =>
    plugins === undefined ? program === undefined : !files.exists(join(plugins, `libstrongswan-${plugin}.so`))
  const missing = [
    ...(program === undefined ? [PROGRAM] : []),
    // The other daemons come without it.
    ...(lacks('vici') ? ['strongswan-swanctl'] : []),
    ...(lacks('openssl') ? ['libstrongswan-standard-plugins'] : []),
    ...(esp === 'user' && lacks('kernel-libipsec') ? ['libcharon-extra-plugins'] : []),
  ]
  return { program, missing }
}
