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

  async show(controllers: DemoController[], clients: DemoClient[]): Promise<void> {
    const states = await Promise.all(controllers.map(controllerLine))
    const lines = [...states, ...clients.map(clientLine)]
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
  try {
    const { sessions } = await controller.service.status()
    const bytes = sessions.reduce((sum, session) => sum + session.rxBytes, 0)
    return `controller ${controller.name.padEnd(8)} ${sessions.length} sessions, ${formatBytes(bytes)} switched`
  } catch {
    return `controller ${controller.name.padEnd(8)} does not answer`
  }
}

function clientLine(client: DemoClient): string {
  const { sent, received, rttMs } = client.summary
  const time = rttMs === null ? '' : `, ${rttMs.average.toFixed(2)} ms on average`
  const name = `${client.name} ${client.address}`.padEnd(19)
  return printable(
    `client ${name} ${client.state}: ${received} of ${sent} pings answered by ${client.peer}${time}`,
  )
}
