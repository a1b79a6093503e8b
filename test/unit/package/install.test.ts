// deploy/install.sh, with everything it would change in a directory of its own. test/docker runs it on a whole Debian.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { attempt, run } from '../../lab/command.ts'

const DEPLOY = join(import.meta.dirname, '../../../deploy')

/** A Debian on which systemd does not run as yet. */
class Debian {
  readonly #root: string
  readonly #env: NodeJS.ProcessEnv

  constructor(t: TestContext) {
    this.#root = mkdtempSync(join(tmpdir(), 'overmesh-install-'))
    t.after(() => rmSync(this.#root, { recursive: true }))
    const bin = join(this.#root, 'bin')
    for (const each of [
      'bin',
      'etc/systemd/system',
      'opt',
      'usr/local/bin',
      'package/node/cli',
      'package/deploy',
    ])
      mkdirSync(join(this.#root, each), { recursive: true })
    writeFileSync(join(this.#root, 'etc/os-release'), 'ID=debian\n')
    const wants = join(this.#root, 'etc/systemd/system/multi-user.target.wants')
    const programs = {
      id: 'echo 0',
      // All but what --ipsec adds.
      'dpkg-query': "case $* in *charon*|*swan*) ;; *) echo 'install ok installed' ;; esac",
      // As Debian's package does where systemd is not there to be asked.
      'apt-get': `case $* in *charon-systemd*) mkdir -p ${wants}; ln -s /lib/systemd/system/strongswan.service ${wants} ;; esac`,
    }
    for (const [name, script] of Object.entries(programs))
      writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o700 })
    const script = readFileSync(join(DEPLOY, 'install.sh'), 'utf8')
    const places = /(?<=[\s=])\/(?=(opt|etc|usr\/local|var\/lib|run\/systemd)\/)/g
    const moved = script.replaceAll(places, `${this.#root}/`)
    assert.doesNotMatch(
      moved.replaceAll(`${this.#root}/`, ''),
      /\/(opt|etc|usr|var)\//,
      'nothing else is changed',
    )
    writeFileSync(join(this.#root, 'install.sh'), moved)
    this.#env = { PATH: `${bin}:${process.env.PATH}`, TMPDIR: this.#root }
  }

  /** Installs a package that says that it is this version; returns the directory that it has for itself. */
  async install(version: string, ...options: string[]): Promise<string> {
    const top = join(this.#root, 'package')
    writeFileSync(join(top, 'node/cli/overmesh.js'), `console.log('${version}')\n`)
    writeFileSync(join(top, 'deploy/overmesh.service'), '[Service]\n')
    const archive = join(this.#root, 'package.tgz')
    await run(['tar', '-C', this.#root, '-czf', archive, 'package'])
    const script = join(this.#root, 'install.sh')
    const argv = ['sh', script, '--package', archive, '--node', process.execPath, ...options]
    const { code, stdout, stderr } = await attempt(argv, { env: this.#env })
    assert.equal(code, 0, stdout + stderr)
    return basename(readlinkSync(this.path('current')))
  }

  path(name: string): string {
    return join(this.#root, 'opt/overmesh', name)
  }

  /** What is started with the machine. */
  get services(): string[] {
    return readdirSync(join(this.#root, 'etc/systemd/system/multi-user.target.wants')).sort()
  }

  get versions(): string[] {
    return readdirSync(this.path('versions')).sort()
  }
}

test('install.sh keeps the version before, and one that still runs, however many upgrades ago it was started', async t => {
  const debian = new Debian(t)
  const first = await debian.install('1.0.0')
  const controller = spawn(debian.path('current/bin/node'), [
    '-e',
    "console.log('runs'); setInterval(() => {}, 1000)",
  ])
  const ended = once(controller, 'close')
  try {
    await Promise.race([once(controller.stdout, 'data'), ended])
    const second = await debian.install('1.0.1')
    const third = await debian.install('1.0.2')
    assert.deepEqual(debian.versions, [first, second, third])
    controller.kill()
    await ended
    const fourth = await debian.install('1.0.3')
    assert.deepEqual(debian.versions, [third, fourth])
  } finally {
    controller.kill('SIGKILL')
  }
})

test("install.sh --ipsec in an image that is made leaves the distribution's strongSwan off, which would hold the ports", async t => {
  const debian = new Debian(t)
  await debian.install('1.0.0', '--ipsec')
  assert.deepEqual(debian.services, ['overmesh.service'])
})
