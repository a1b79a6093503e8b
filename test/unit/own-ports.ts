// Ports for what must listen on a known one, or on the same one again. Below those that the system hands out, so nobody who binds
// or connects with any port gets one meanwhile; and of a block that this process holds until it ends, so no other test does.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { createServer, type Server } from 'node:net'

const HOST = '127.0.0.1'
const FIRST = 10_000
const BLOCK = 100
const BLOCKS = 220

let block: Promise<number> | undefined
let given = 0

/** One on which nobody listens, neither by UDP nor by TCP. Never the same twice. */
export async function ownPort(): Promise<number> {
  block ??= holdBlock()
  const first = await block
  for (;;) {
    assert.ok(++given < BLOCK, 'a process has so many ports')
    const port = first + given
    if (await isFree(port)) return port
  }
}

/** Whoever listens on the first port of a block has all of them. */
async function holdBlock(): Promise<number> {
  for (let i = 0; i < BLOCKS; i++) {
    const first = FIRST + ((process.pid + i) % BLOCKS) * BLOCK
    const held = await listen(first)
    if (held === undefined) continue
    held.unref()
    return first
  }
  throw new Error('others hold all ports')
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise(resolve => {
    const server = createServer(socket => socket.destroy())
    server.on('error', () => resolve(undefined))
    server.listen(port, HOST, () => resolve(server))
  })
}

async function isFree(port: number): Promise<boolean> {
  const server = await listen(port)
  if (server === undefined) return false
  await new Promise(resolve => server.close(resolve))
  return new Promise(resolve => {
    const socket = createSocket('udp4')
    socket.on('error', () => {
      socket.close()
      resolve(false)
    })
    socket.bind(port, HOST, () => socket.close(() => resolve(true)))
  })
}
