// User data for clouds: each file is YAML that cloud-init takes, and its script does what it says with what a cloud tells it.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { parseDocument } from 'yaml'
import { attempt } from '../../lab/command.ts'

const TOP = join(import.meta.dirname, '../../..')
const LAUNCHER = join(TOP, 'node/cli/overmesh.js')
const ARCHIVE = 'what npm pack made'

interface UserData {
  package_update: boolean
  packages: string[]
  write_files: { path: string; permissions: string; content: string }[]
  runcmd: string[]
}

/** What a cloud's metadata make of the template. */
function rendered(text: string): string {
  const values: Record<string, string> = {
    'v1.region': 'eu-central-1',
    'ds.meta_data.public_ipv4': '192.0.2.7',
  }
  return text.replace(/\{\{ (\S+) \}\}/g, (_, name) => values[name] ?? assert.fail(`no metadata ${name}`))
}

for (const file of globSync(join(TOP, 'deploy/cloud-init/*.yaml')).sort()) {
  const name = basename(file)
  test(`${name}: makes a controller, once the package is what it should be`, async t => {
    const root = mkdtempSync(join(tmpdir(), 'overmesh-cloud-'))
    t.after(() => rmSync(root, { recursive: true }))
    const bin = join(root, 'bin')
    for (const directory of ['bin', 'root']) mkdirSync(join(root, directory))
    const text = readFileSync(file, 'utf8')
    const isTemplate = text.startsWith('## template: jinja\n')
    assert.match(text, isTemplate ? /^## template: jinja\n#cloud-config\n/ : /^#cloud-config\n/)
    assert.equal(text.includes('{{'), isTemplate)
    const parsed = parseDocument(rendered(text))
    assert.deepEqual([...parsed.errors, ...parsed.warnings], [])
    const data: UserData = parsed.toJS()
    assert.deepEqual(Object.keys(data).sort(), ['package_update', 'packages', 'runcmd', 'write_files'])

    const inRoot = (value: string) => value.replaceAll('/root/', `${root}/root/`)
    for (const { path, permissions, content } of data.write_files) {
      assert.match(permissions, /^0[67]00$/)
      writeFileSync(inRoot(path), inRoot(content), { mode: Number.parseInt(permissions, 8) })
    }
    // What the machine would fetch and install; the command is the checkout's.
    const log = join(root, 'log')
    const programs = {
      curl: `printf '%s' '${ARCHIVE}' > overmesh.tgz; echo "curl $@" >> ${log}`,
      tar: `mkdir -p package/deploy; echo 'echo "install.sh $@" >> ${log}' > package/deploy/install.sh`,
      systemctl: `echo "systemctl $@" >> ${log}`,
      overmesh: `echo "overmesh $@" >> ${log}; [ $1 = join ] || exec ${process.execPath} ${LAUNCHER} "$@"`,
    }
    for (const [program, script] of Object.entries(programs))
      writeFileSync(join(bin, program), `#!/bin/sh\n${script}\n`, { mode: 0o700 })
    const env = { PATH: `${bin}:${process.env.PATH}`, OVERMESH_DATA: join(root, 'data'), TMPDIR: root }
    const setUp = () => attempt(data.runcmd.map(inRoot), { env, cwd: root })
    const settings = join(root, 'root/overmesh-settings')

    const refused = await setUp()
    assert.notEqual(refused.code, 0, 'the checksum in the example is that of nothing')
    assert.match(
      readFileSync(log, 'utf8'),
      /^curl [^\n]*https:\/\/downloads\.example\.net\/overmesh-[\d.]+\.tgz\n$/,
    )
    rmSync(log)

    const sum = createHash('sha256').update(ARCHIVE).digest('hex')
    writeFileSync(settings, readFileSync(settings, 'utf8').replace(/^SHA256=.*$/m, `SHA256=${sum}`))
    const { code, stdout, stderr } = await setUp()
    assert.equal(code, 0, stdout + stderr)
    const [controller, address] = isTemplate
      ? ['eu-central-1', '192.0.2.7']
      : name.includes('first')
        ? ['north', 'vpn-north.example.net']
        : ['south', 'vpn-south.example.net']
    const [, ...done] = readFileSync(log, 'utf8').trim().split('\n')
    const made = name.includes('first') ? 'init --name prod --subnet 10.77.0.0/16' : 'join om1-...'
    assert.deepEqual(done, [
      'install.sh --package overmesh.tgz',
      `overmesh ${made} --controller ${controller} --public ${address}`,
      'systemctl start overmesh',
    ])
    assert.equal(existsSync(settings), false, 'a token in it would be good once')
    assert.equal(existsSync(join(root, 'data/config.json')), name.includes('first'))
    assert.equal(statSync(join(root, 'root/overmesh-setup')).mode & 0o077, 0)
  })
}
