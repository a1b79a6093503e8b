// What of strongSwan is installed, and which Debian packages bring what is missing.
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Esp } from './configuration.ts'

/** The daemon, the one without systemd's library last. */
const PROGRAMS = ['charon-systemd', 'charon'] as const
const SYSTEM_PATH = [
  '/usr/local/sbin',
  '/usr/sbin',
  '/sbin',
  '/usr/lib/ipsec',
  '/usr/libexec/ipsec',
  '/usr/lib/strongswan',
]
/** Debian and Ubuntu; Fedora; Alpine and Arch. */
const PLUGIN_DIRECTORIES = [
  '/usr/lib/ipsec/plugins',
  '/usr/lib64/strongswan/plugins',
  '/usr/lib/strongswan/plugins',
]

export interface Files {
  exists(path: string): boolean
  executable(path: string): boolean
}

const thisMachine: Files = {
  exists: existsSync,
  executable(path) {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  },
}

export interface Installation {
  /** Full path of the daemon. */
  readonly program: string | undefined
  /** Debian packages that are missing. */
  readonly missing: readonly string[]
}

/** @param path as the environment's PATH */
export function findInstallation(esp: Esp, path = process.env.PATH ?? '', files = thisMachine): Installation {
  const directories = [...path.split(delimiter).filter(Boolean), ...SYSTEM_PATH]
  const program = PROGRAMS.flatMap(name => directories.map(directory => join(directory, name))).find(
    files.executable,
  )
  const plugins = PLUGIN_DIRECTORIES.find(files.exists)
  const lacks = (plugin: string): boolean =>
    plugins === undefined ? program === undefined : !files.exists(join(plugins, `libstrongswan-${plugin}.so`))
  const missing = [
    ...(program === undefined ? ['charon-systemd'] : []),
    ...(lacks('openssl') ? ['libstrongswan-standard-plugins'] : []),
    ...(esp === 'user' && lacks('kernel-libipsec') ? ['libcharon-extra-plugins'] : []),
  ]
  return { program, missing }
}
