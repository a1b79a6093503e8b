// The door to the IKE daemon: while it is shut, a device's first packet is dropped, and the device tries again. One that is refused,
// because the daemon knows no tunnels yet or takes nobody new, may never come back: strongSwan does not dial again after a refusal.
import { type Kernel, thisKernel } from '../../gateway/kernel.ts'

const TABLE = 'overmesh_ike'
/** The responder's SPI is zero in a first packet (RFC 7296 section 3.1); at port 4500 a marker of four zero bytes comes before it. */
const FIRST_PACKETS = ['udp dport 500 @th,128,64 0 drop', 'udp dport 4500 @th,64,32 0 @th,160,64 0 drop']

const OPEN = `add table inet ${TABLE}\ndelete table inet ${TABLE}\n`
const SHUT = `${OPEN}table inet ${TABLE} {
  chain input {
    type filter hook input priority filter; policy accept;
${FIRST_PACKETS.map(rule => `    ${rule}\n`).join('')}  }
}
`

/** A machine without nft(8) has a door that is always open. */
export class Door {
  readonly #kernel: Pick<Kernel, 'run'>
  #isShut: boolean | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(kernel: Pick<Kernel, 'run'> = thisKernel) {
    this.#kernel = kernel
  }

  shut(): Promise<void> {
    return this.#move(true)
  }

  open(): Promise<void> {
    return this.#move(false)
  }

  #move(isShut: boolean): Promise<void> {
    const turn = this.#turn.then(async () => {
      if (this.#isShut === isShut) return
      const { code } = await this.#kernel.run('nft', ['-f', '-'], isShut ? SHUT : OPEN)
      this.#isShut = code === 0 ? isShut : undefined
    })
    this.#turn = turn
    return turn
  }
}
