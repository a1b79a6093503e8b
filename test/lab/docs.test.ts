// The commands of README and docs/: each runs as it is written, in the order of its page, in a lab that has what the page names.
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { type Command, commandsOf } from './docs/blocks.ts'
import { PAGES, type World } from './docs/pages.ts'
import { Story } from './docs/story.ts'
import type { Host } from './host.ts'
import { Lab } from './lab.ts'
import { Mesh } from './mesh.ts'

const TOP = join(import.meta.dirname, '../..')
const pages = ['README.md', 'deploy/README.md', ...globSync('docs/**/*.md', { cwd: TOP }).sort()]
const textOf = (page: string): string => readFileSync(join(TOP, page), 'utf8')

/** What no lab of namespaces can run, and which test does: of a whole command, and a file that has to hold the words. */
const ELSEWHERE: [command: RegExp, file: string, words: RegExp][] = [
  [/^npm ci && npm run mesh$/, 'test/lab/demo.test.ts', /node\/cli\/demo\.ts/],
  [/^npm ci && npm test$/, '.ci/run', /^npm test$/m],
  [/^npm ci && npm pack$/, 'test/unit/package/package.test.ts', /'pack'/],
  [/^npm install --global overmesh-[\d.]+\.tgz$/, 'test/unit/package/package.test.ts', /'--global'/],
  [
    /^(deploy\/|\.\/)?install\.sh( --package overmesh-[\d.]+\.tgz)?$/,
    'test/docker/compose.test.ts',
    /install\.sh/,
  ],
  [
    /^overmesh init --name prod --subnet 10\.77\.0\.0\/16 --public vpn\.example\.net$/,
    'README.md',
    /^npx overmesh init/m,
  ],
  [/^docker (build|run|exec|cp)\b/, 'test/docker/compose.test.ts', /as deploy\/README\.md has it/],
  [/^deploy\/docker\/tour\.sh --build$/, 'test/docker/compose.test.ts', /tour\.sh/],
  [
    /^docker compose -f docker-compose\.mesh\.yml (exec|down)\b/,
    'test/docker/compose.test.ts',
    /'exec'[\s\S]*'down'|'down'[\s\S]*'exec'/,
  ],
  [
    /^cp web\.ovpn \/etc\/openvpn\/client\/web\.conf$|^systemctl enable --now openvpn-client@web$/,
    'test/docker/compose.test.ts',
    /openvpn-client@web/,
  ],
  [/^systemctl start overmesh$/, 'test/docker/compose.test.ts', /systemctl start overmesh/],
  [/^npm run (check|build)$/, '.ci/run', /^npm run (check|build)$/m],
  [/^npm run (test:\w+|simulate|bench|bench:mesh)\b/, 'package.json', /"(test:\w+|simulate|bench)"/],
]

describe('pages', () => {
  test('are all known to this test', () => {
    assert.deepEqual(
      pages.filter(page => !(page in PAGES)),
      [],
    )
    assert.deepEqual(
      Object.keys(PAGES).filter(page => !pages.includes(page)),
      [],
    )
  })

  test('what a lab cannot run is run by another test', () => {
    const missed: string[] = []
    for (const page of pages) {
      for (const { text, line, where } of commandsOf(textOf(page))) {
        if (where !== 'elsewhere') continue
        const plain = text.replace(/\s+#.*$/, '').replace(/^sudo /, '')
        const entry = ELSEWHERE.find(([command]) => command.test(plain))
        if (!entry) missed.push(`${page}:${line}: ${plain}`)
        else if (!existsSync(join(TOP, entry[1])) || !entry[2].test(textOf(entry[1])))
          missed.push(`${page}:${line}: ${entry[1]} does not hold ${entry[2]}`)
      }
    }
    assert.deepEqual(missed, [])
  })

  test('point at each other and at files that exist', () => {
    const broken: string[] = []
    for (const page of pages) {
      for (const [, target] of textOf(page).matchAll(/\]\((?!https?:|#|mailto:)([^)\s#]+)(?:#[^)]*)?\)/g))
        if (!existsSync(join(TOP, page, '..', target))) broken.push(`${page}: ${target}`)
    }
    assert.deepEqual(broken, [])
  })
})

for (const page of pages) {
  const world = PAGES[page]
  const commands = commandsOf(textOf(page)).filter(each => each.where !== 'elsewhere')
  if (world === undefined || commands.length === 0) continue
  describe(page, () => live(page, world, commands))
}

function live(page: string, world: World, commands: readonly Command[]): void {
  let lab: Lab
  let story: Story
  before(async () => {
    lab = await Lab.create('docs')
    try {
      story = await prepare(lab, world)
    } catch (error) {
      process.stdout.write(`${lab.logs()}\n`)
      throw error
    }
  })
  let failed = false
  afterEach(() => {
    if (failed) process.stdout.write(`${lab.logs(12)}\n`)
  })
  after(() => lab?.close())

  test(`${commands.length} commands do what they say`, async () => {
    failed = true
    for (const command of commands) await story.run(command, page)
    failed = false
  })
}

async function prepare(lab: Lab, world: World): Promise<Story> {
  const { running = [], machines = [], names = {}, clients = {}, subnet6 } = world
  const files = { ...world.files }
  const mesh = running.length > 0 ? await Mesh.start(lab, running, { subnet6 }) : undefined
  for (const machine of machines) await lab.host(machine)
  for (const [client, args] of Object.entries(clients)) {
    const pack = await mesh!.controllers[0].addClient(client, ...args)
    if (world.packs) files[`${client}.ovpn`] = readFileSync(pack, 'utf8')
    await mesh!.connectWith(client, await lab.host(client), pack)
  }
  await world.prepare?.(lab)
  const hosts: ReadonlyMap<string, Host> = lab.hosts
  const named = Object.fromEntries(Object.entries(names).map(([name, host]) => [name, hosts.get(host)!]))
  const story = new Story(lab, hosts, hosts.get(world.first ?? running[0] ?? machines[0])!, named)
  for (const [name, text] of Object.entries(files)) story.write(name, text)
  return story
}
