// What the script of a seal tells nft and whom it asks for names, in which order. Both are stood in for; the lab has the real ones.
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { sealFiles } from '../../../node/seal/files.ts'
import { attempt, type CommandResult } from '../../lab/command.ts'

const EUROPE = { host: 'eu.example.net', port: 1194 }
const AMERICA = { host: 'us.example.net', port: 443 }
const BY_ADDRESS = { host: '192.0.2.1', port: 1194 }

/** A machine whose seal is installed, and missing. */
class Machine {
  /** What a name has for addresses; others are not known. */
  readonly answers: Record<string, string> = {}
  /** Where the script and what it remembers are. */
  readonly files: string
  readonly #root: string

  constructor(t: TestContext, controllers: (typeof EUROPE)[], home = 'usr/local/lib/overmesh-seal') {
    this.#root = mkdtempSync(join(tmpdir(), 'overmesh-seal-script-'))
    t.after(() => rmSync(this.#root, { recursive: true }))
    this.files = join(this.#root, home)
    for (const each of ['bin', 'etc', home]) mkdirSync(join(this.#root, each), { recursive: true })
    for (const [name, { content }] of Object.entries(sealFiles(controllers, [])))
      writeFileSync(join(this.files, name), content)
    chmodSync(join(this.files, 'seal'), 0o700)
    const log = join(this.#root, 'log')
    // A seal is a file that says so; each of what nft and getent are told is one line of the log.
    const nft = `if [ "$1" = list ]; then [ -e ${this.#seal} ]; exit; fi
told=$(cat | tr '\\n' ' ')
case $told in
  *'delete table'*) what=put ;;
  '') exit ;;
  *) what=add; [ -e ${this.#seal} ] || exit 1 ;;
esac
touch ${this.#seal}
echo "$what" $(echo "$told" | grep -o 'add element [^}]*' | sed 's/.*{ //') >>${log}`
    const getent = `for name in "$@"; do :; done
echo "ask $name" >>${log}
if [ -e ${this.#root}/flushes ]; then rm -f ${this.#seal} ${this.#root}/flushes; fi
grep -s "^$name " ${this.#root}/answers | cut -d ' ' -f 2 | grep .`
    for (const [name, script] of Object.entries({ nft, getent, id: 'echo 0' }))
      writeFileSync(join(this.#root, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o700 })
  }

  get #seal(): string {
    return join(this.#root, 'sealed')
  }

  get isSealed(): boolean {
    return existsSync(this.#seal)
  }

  remember(...lines: string[]): void {
    writeFileSync(join(this.files, 'addresses'), lines.map(line => `${line}\n`).join(''))
  }

  /** Something flushes nftables: now, or when the next name is asked for. */
  flush(when: 'now' | 'at the next question'): void {
    if (when === 'now') rmSync(this.#seal, { force: true })
    else writeFileSync(join(this.#root, 'flushes'), '')
  }

  async refresh(): Promise<CommandResult & { did: string[] }> {
    const log = join(this.#root, 'log')
    writeFileSync(log, '')
    const answers = Object.entries(this.answers).map(([name, address]) => `${name} ${address}\n`)
    writeFileSync(join(this.#root, 'answers'), answers.join(''))
    const env = { PATH: `${join(this.#root, 'bin')}:${process.env.PATH}`, DESTDIR: this.#root }
    const result = await attempt([join(this.files, 'seal'), 'refresh'], { env })
    const did = readFileSync(log, 'utf8').trimEnd().split('\n')
    return { ...result, did: did.filter((each, index) => each !== did[index - 1]) }
  }
}

test('a seal that was taken away is back before any name is asked for, with the addresses found last', async t => {
  const machine = new Machine(t, [EUROPE, AMERICA, BY_ADDRESS])
  machine.remember('eu.example.net 192.0.2.7 1194', 'us.example.net 2001:db8::8 443')
  machine.answers['us.example.net'] = '192.0.2.9'
  const { code, did, stderr } = await machine.refresh()
  assert.equal(code, 0, stderr)
  assert.deepEqual(did, [
    'put 192.0.2.7 . 1194 2001:db8::8 . 443',
    'ask eu.example.net',
    'ask us.example.net',
    'add 192.0.2.7 . 1194 192.0.2.9 . 443',
  ])
  assert.equal(stderr, '')
  // What was found now is what it is put back with next.
  machine.flush('now')
  assert.equal((await machine.refresh()).did[0], 'put 192.0.2.7 . 1194 192.0.2.9 . 443')
  assert.deepEqual(
    (await machine.refresh()).did.slice(0, 1),
    ['ask eu.example.net'],
    'one that stands is kept',
  )
})

test('with no way to a controller, names are asked for while they can be', async t => {
  const machine = new Machine(t, [EUROPE, BY_ADDRESS])
  machine.answers['eu.example.net'] = '192.0.2.7'
  assert.deepEqual((await machine.refresh()).did, ['ask eu.example.net', 'put 192.0.2.7 . 1194'])
  // What another pack's controllers had is none.
  const renewed = new Machine(t, [EUROPE])
  renewed.answers['eu.example.net'] = '192.0.2.7'
  renewed.remember('us.example.net 192.0.2.8 443', 'eu.example.net 192.0.2.8 443')
  assert.deepEqual((await renewed.refresh()).did, ['ask eu.example.net', 'put 192.0.2.7 . 1194'])
})

test('names that never had an address keep no seal waiting', async t => {
  const machine = new Machine(t, [EUROPE, BY_ADDRESS])
  const first = await machine.refresh()
  assert.deepEqual(first.did, ['ask eu.example.net', 'put'])
  assert.match(first.stderr, /no address was found for eu\.example\.net;/)
  machine.flush('now')
  const { code, did, stderr } = await machine.refresh()
  assert.equal(code, 0, stderr)
  assert.deepEqual(did, ['put', 'ask eu.example.net'])
  assert.match(stderr, /^seal: no address was found for eu\.example\.net; [^\n]*\n$/)
})

test('one that is taken away while names are asked for comes back, unless it may be a trial that is over', async t => {
  const machine = new Machine(t, [EUROPE])
  machine.remember('eu.example.net 192.0.2.7 1194')
  await machine.refresh()
  machine.flush('at the next question')
  assert.equal((await machine.refresh()).code, 0)
  assert.ok(machine.isSealed)
  const tried = new Machine(t, [EUROPE], 'tmp/seal')
  tried.remember('eu.example.net 192.0.2.7 1194')
  await tried.refresh()
  tried.flush('at the next question')
  const { code, stderr } = await tried.refresh()
  assert.equal(code, 1)
  assert.match(stderr, /^seal: the seal was taken away meanwhile$/m)
  assert.ok(!tried.isSealed)
})
