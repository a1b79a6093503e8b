// What systemd hears, by a socket of its kind.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { after, before, test } from 'node:test'
import { findSupervisor } from '../../../node/supervisor.ts'

/** A datagram socket that prints what it receives, a line each: the receiving end is another thing that Node has not. */
const RECEIVER = `
use Socket;
$| = 1;
my ($name, $receiver) = shift;
$name =~ s/^@/\\0/;
socket($receiver, AF_UNIX, SOCK_DGRAM, 0) && bind($receiver, pack_sockaddr_un($name)) or die $!;
print "bound\\n";
while (defined recv($receiver, my $text, 4096, 0)) { $text =~ tr/\\n/|/; print "$text\\n" }
`

let directory: string
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-notify-'))
})
after(() => rmSync(directory, { recursive: true }))

class Receiver implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess, lines: Interface) {
    this.#child = child
    this.#lines = lines[Symbol.asyncIterator]()
  }

  static async at(path: string): Promise<Receiver> {
    const child = spawn('perl', ['-e', RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const receiver = new Receiver(child, createInterface({ input: child.stdout! }))
    assert.equal(await receiver.next(), 'bound')
    return receiver
  }

  async next(): Promise<string> {
    return (await this.#lines.next()).value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}

for (const path of ['socket', '@overmesh-test']) {
  test(`it hears of readiness, of life, and of the end: ${path}`, async () => {
    const name = path.startsWith('@') ? `${path}-${process.pid}` : join(directory, path)
    await using receiver = await Receiver.at(name)
    const env: NodeJS.ProcessEnv = {
      NOTIFY_SOCKET: name,
      WATCHDOG_USEC: '1000000',
      WATCHDOG_PID: `${process.pid}`,
    }
    const problems: Error[] = []
    const supervisor = await findSupervisor(env, error => problems.push(error))
    assert.deepEqual(env, {}, 'what it starts does not inherit it')
    // The word of readiness takes its time to get here; what is due is due from when it was said.
    const started = performance.now()
    supervisor.ready('here')
    assert.equal(await receiver.next(), 'READY=1|STATUS=here')
    const keepAlive = setTimeout(() => {}, 5000)
    assert.equal(await receiver.next(), 'WATCHDOG=1')
    assert.equal(await receiver.next(), 'WATCHDOG=1')
    clearTimeout(keepAlive)
    assert.ok(performance.now() - started >= 900, 'twice in the time in which one is due')
    supervisor.stopping('gone')
    assert.equal(await receiver.next(), 'STOPPING=1|STATUS=gone')
    supervisor.close()
    assert.deepEqual(problems, [])
  })
}

test('no sign of life is given while a part of the process hangs', async () => {
  const name = join(directory, 'hanging')
  await using receiver = await Receiver.at(name)
  const supervisor = await findSupervisor({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '20000' }, error =>
    assert.fail(error),
  )
  let asked = 0
  // Alive for three looks, then not.
  supervisor.ready('here', () => ++asked <= 3)
  assert.equal(await receiver.next(), 'READY=1|STATUS=here')
  while (asked < 10) await new Promise(resolve => setTimeout(resolve, 5))
  supervisor.stopping('gone')
  const heard = [await receiver.next(), await receiver.next(), await receiver.next(), await receiver.next()]
  assert.deepEqual(heard, ['WATCHDOG=1', 'WATCHDOG=1', 'WATCHDOG=1', 'STOPPING=1|STATUS=gone'])
  supervisor.close()
})

test('the watchdog of another process is none of ours', async () => {
  const name = join(directory, 'other')
  await using receiver = await Receiver.at(name)
  const supervisor = await findSupervisor(
    { NOTIFY_SOCKET: name, WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' },
    error => assert.fail(error),
  )
  supervisor.ready('here')
  assert.equal(await receiver.next(), 'READY=1|STATUS=here')
  await new Promise(resolve => setTimeout(resolve, 100))
  supervisor.stopping('gone')
  assert.equal(await receiver.next(), 'STOPPING=1|STATUS=gone')
  supervisor.close()
})

test('without systemd nothing happens; a socket that is not there is a warning, no failure', async () => {
  const problems: Error[] = []
  const nobody = await findSupervisor({}, error => problems.push(error))
  nobody.ready('here')
  nobody.stopping('gone')
  nobody.close()
  assert.equal(problems.length, 0)
  for (const path of [join(directory, 'nothing'), '/'.padEnd(200, 'x')]) {
    const supervisor = await findSupervisor({ NOTIFY_SOCKET: path }, error => problems.push(error))
    supervisor.ready('here')
    supervisor.close()
  }
  assert.deepEqual(
    problems.map(error => (error as Error & { code: string }).code),
    ['ENOENT', 'ENAMETOOLONG'],
  )
})
