// What the demonstration shows while it runs: a table drawn in place on a terminal, a line each time in a log.

import type { DemoClient } from './demo-client.ts'
import type { DemoController } from './demo-controller.ts'
import type { Output } from './output.ts'
import { formatBytes, printable } from './text.ts'

export class DemoScreen {
  readonly #output: Output
  #drawn = 0

  constructor(output: Output) {
    this.#output = output
  }

  /** A line that stays, above the table. */
  say(line: string): void {
    if (this.#drawn > 0) this.#output.write(`\u001b[${this.#drawn}A\u001b[J`)
    this.#drawn = 0
    this.#output.line(line)
  }

  async show(controllers: DemoController[], clients: DemoClient[]): Promise<void> {
    const states = await Promise.all(controllers.map(controllerLine))
    const lines = [...states, ...clients.map(client => clientLine(client, controllers))]
    if (!this.#output.interactive) {
      this.#output.line(lines.map(line => line.trim().replace(/ {2,}/g, ' ')).join(' | '))
      return
    }
    // Up to the first line of the last table, and clear to the end of the screen.
    if (this.#drawn > 0) this.#output.write(`\u001b[${this.#drawn}A\u001b[J`)
    for (const line of lines) this.#output.line(line)
    this.#drawn = lines.length
  }
}

async function controllerLine(controller: DemoController): Promise<string> {
  const name = `controller ${controller.name.padEnd(8)}`
  if (!controller.running) return `${name} is dead`
  try {
    const status = await controller.service.status()
    const own = status.sessions.filter(session => session.controller === controller.name)
    const bytes = own.reduce((sum, session) => sum + session.rxBytes, 0)
    const others = status.controllers.filter(each => !each.self)
    const links = others.filter(each => each.link.up)
    const slowest = Math.max(0, ...links.map(each => each.link.rttMs))
    return (
      `${name} ${own.length} of ${status.sessions.length} sessions, ${formatBytes(bytes)} switched, ` +
      `${links.length} of ${others.length} links up (${slowest.toFixed(1)} ms), state ${status.stateHash.slice(0, 8)}`
    )
  } catch {
    return `${name} does not answer`
  }
}

function clientLine(client: DemoClient, controllers: readonly DemoController[]): string {
  const { sent, received, rttMs } = client.summary
  const time = rttMs === null ? '' : `, ${rttMs.average.toFixed(2)} ms on average`
  const name = `${client.name} ${client.address}`.padEnd(19)
  const at = controllers.find(({ listen }) => listen === client.remote)
  const state = at ? `on ${at.name}` : client.state
  return printable(
    `client ${name} ${state.padEnd(10)}: ${received} of ${sent} pings answered by ${client.peer}${time}`,
  )
}
