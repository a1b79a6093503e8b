// A kernel that is asked for its routes and chains again only after something of it changed: to start `ip` and `nft` takes a process as
// large as this one longer than all else that it does at rest.
import type { CommandResult, Kernel } from './kernel.ts'

/** Tells whether anything changed since it was asked last. */
export interface News {
  take(): boolean
  close(): void
}

/** Answers are good for so long, whatever the news: they are not the only ones to trust. */
const KEPT_MS = 5 * 60_000
/** Characters; a longer answer is not kept. */
const LONGEST_KEPT = 1 << 20
const MOST_KEPT = 64

interface Kept {
  readonly result: CommandResult
  /** Monotonic, ms. */
  readonly at: number
}

export class ObservedKernel implements Kernel {
  readonly #kernel: Kernel
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  #news: News | undefined

  constructor(kernel: Kernel, now: () => number = () => performance.now()) {
    this.#kernel = kernel
    this.#now = now
  }

  /** From now on answers are kept until there are news; without them every question goes to the kernel. */
  observe(news: News | undefined): void {
    this.close()
    this.#news = news
  }

  /** Whether there are news since the last question. Never where nothing is observed. */
  hasNews(): boolean {
    if (!this.#news?.take()) return false
    this.#kept.clear()
    return true
  }

  /** An answer was of no use: the next question goes to the kernel. */
  forget(): void {
    this.#kept.clear()
  }

  async run(program: 'nft' | 'ip', args: readonly string[], input?: string): Promise<CommandResult> {
    const key = [program, ...args].join('\0')
    if (this.#news === undefined || !isQuestion(args)) {
      this.#kept.clear()
      return this.#kernel.run(program, args, input)
    }
    // Before it is asked: what happens meanwhile is news to the next question.
    this.hasNews()
    const kept = this.#kept.get(key)
    const now = this.#now()
    if (kept !== undefined && now - kept.at < KEPT_MS) return kept.result
    const result = await this.#kernel.run(program, args, input)
    if (result.code === 0 && result.stdout.length <= LONGEST_KEPT && this.#kept.size < MOST_KEPT)
      this.#kept.set(key, { result, at: now })
    else this.#kept.delete(key)
    return result
  }

  read(path: string): string | undefined {
    return this.#kernel.read(path)
  }

  list(path: string): string[] {
    return this.#kernel.list(path)
  }

  write(path: string, text: string): void {
    this.#kernel.write(path, text)
  }

  link(path: string): string | undefined {
    return this.#kernel.link(path)
  }

  close(): void {
    this.#news?.close()
    this.#news = undefined
    this.#kept.clear()
  }
}

/** `ip … show …` and `nft … list …`: they change nothing. */
function isQuestion(args: readonly string[]): boolean {
  return args.includes('show') || args.includes('list')
}
