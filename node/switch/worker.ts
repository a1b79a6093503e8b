// The switch's thread: makes everything the loop needs, runs it, and undoes it in reverse.
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { cidrLast } from '../../state/address.ts'
import { type Assembly, assemble } from './assembly.ts'
import { SHARE } from './busy-poll.ts'
import { counterCells } from './counters.ts'
import { SwitchError } from './errors.ts'
import { LinkStats } from './link-stats.ts'
import { type Listener, listen } from './listener.ts'
import { Loop } from './loop.ts'
import { type Command, longestPacket, type Report, unpackSecrets, type WorkerInit } from './messages.ts'
import { KEY_IDS, PortStats } from './shared.ts'
import { PATH_STRIDE, writePath } from './socket-address.ts'
import { Arena, freeArenas } from './sys/arena.ts'
import { newWakeup } from './sys/poller.ts'
import { closeFile } from './sys/socket.ts'
import { ForwardingTable } from './table.ts'
import { ForwardingTable6 } from './table6.ts'
import { Tun } from './tun.ts'
import { warmUp } from './warm-up.ts'

const init = workerData as WorkerInit
const main = parentPort!
const counters = counterCells(init.counters)
const listeners: Listener[] = []
/** The main thread has been told of the sockets, and closes them. */
let handedOver = false
let tun: Tun | undefined

try {
  run()
} catch (error) {
  if (!(error instanceof SwitchError)) throw error
  main.postMessage({ type: 'refused', code: error.code, message: error.message } satisfies Report)
} finally {
  tun?.close()
  if (!handedOver) for (const { fd } of listeners) closeFile(fd)
  freeArenas()
  init.commands.close()
}

function run(): void {
  for (const address of init.listen) listeners.push(listen(address, init.segmenting))
  if (init.tun !== false) {
    const { address, gateway, mtu, subnet, subnet6 } = init
    const options = { ...init.tun, address, gateway, mtu, prefixLength: subnet.length, subnet6 }
    tun = Tun.open({ ...options, offload: init.segmenting }, counters)
  }
  const assembly = assemble({
    listeners,
    tun,
    main,
    signals: init.signals,
    counters,
    maxPorts: init.maxPorts,
    stats: new PortStats(init.stats),
    linkStats: new LinkStats(init.linkStats),
    longest: longestPacket(init.mtu),
    address: init.address,
    gateway: init.gateway,
    subnet: init.subnet,
    subnet6: init.subnet6,
    origin: { address: init.gateway, broadcast: cidrLast(init.subnet) },
    // Alone, there is nobody else to make the answer meanwhile.
    busyShare: availableParallelism() > 1 ? SHARE : 0,
    seed: randomBytes(4).readInt32LE(),
  })
  const wakeup = newWakeup()
  const loop = new Loop({ ...assembly, wakeup, commands: commandHandler(assembly) })
  main.postMessage({
    type: 'ready',
    wakeup,
    sockets: listeners.map(({ fd }) => fd),
    addresses: listeners.map(({ host, port }) => ({ host, port })),
    tun: tun ? { name: tun.name, index: tun.index, mtu: tun.mtu, problem6: tun.problem6 } : null,
  } satisfies Report)
  handedOver = true
  if (init.warmUp) warmUp(tun)
  try {
    loop.run()
  } finally {
    assembly.sessions.stop()
    assembly.keys.close()
  }
}

/** Carries out what the main thread asks for, in order. */
function commandHandler({
  ports,
  keys,
  links,
  sessions,
  echoes,
  forwarder,
  outbox,
  reporter,
  taps,
  busyPoll,
}: Assembly): () => void {
  const path = new Arena(PATH_STRIDE)
  const dropKey = (slot: number, keyId: number): void => {
    const key = ports.keys[slot * KEY_IDS + keyId]
    if (key === 0) return
    if (ports.sendKey[slot] === key) ports.sendKey[slot] = 0
    ports.keys[slot * KEY_IDS + keyId] = 0
    keys.remove(key)
  }
  const setKey = (command: Command & { type: 'setKey' }): void => {
    const { slot, keyId, cipher, format, secrets } = command
    const { send, receive } = unpackSecrets(secrets)
    try {
      const sending =
        ports.keys[slot * KEY_IDS + keyId] !== 0 && ports.sendKey[slot] === ports.keys[slot * KEY_IDS + keyId]
      dropKey(slot, keyId)
      const key = keys.add(ports.remotePeerId[slot], keyId, cipher, format, send, receive)
      if (key === 0) {
        reporter.trouble('no room for another data-channel key')
        return
      }
      ports.keys[slot * KEY_IDS + keyId] = key
      if (sending) ports.sendKey[slot] = key
    } finally {
      new Uint8Array(secrets).fill(0)
    }
  }
  const carryOut = (command: Command): void => {
    switch (command.type) {
      case 'open':
        if (!writePath(path, 0, command.path)) throw new TypeError(`no address: ${command.path.remote}`)
        ports.openPort(command.port, path, 0)
        links.open(command.port.slot, command.port.generation)
        if (init.pathDiscovery) sessions.open(command.port.slot)
        return
      case 'close':
        for (let keyId = 0; keyId < KEY_IDS; keyId++) dropKey(command.slot, keyId)
        links.close(command.slot)
        sessions.close(command.slot)
        busyPoll.forget(command.slot)
        ports.closePort(command.slot)
        return
      case 'move':
        if (!writePath(path, 0, command.path)) throw new TypeError(`no address: ${command.path.remote}`)
        ports.movePort(command.slot, command.path.socket, command.path.ifindex, path, 0)
        links.moved(command.slot)
        sessions.moved(command.slot)
        return
      case 'setKey':
        setKey(command)
        return
      case 'sources':
        ports.setSources(command.slot, command)
        return
      case 'useKey': {
        const key = ports.keys[command.slot * KEY_IDS + command.keyId]
        if (key !== 0) ports.sendKey[command.slot] = key
        return
      }
      case 'dropKey':
        dropKey(command.slot, command.keyId)
        return
      case 'routes':
        forwarder.table = ForwardingTable.fromEncoded(command.table)
        forwarder.table6 = ForwardingTable6.fromEncoded(command.table6)
        return
      case 'echo':
        echoes.send(command.slot, command.to, command.token)
        return
      case 'packet':
        forwarder.fromSelf(command.packet)
        return
      case 'tap':
        taps.add(command.id, command.filter, command.ring)
        return
      case 'untap':
        taps.remove(command.id)
    }
  }
  return () => {
    // What was sealed before must not leave after its port is gone, or by another path.
    outbox.flush()
    for (
      let message = receiveMessageOnPort(init.commands);
      message !== undefined;
      message = receiveMessageOnPort(init.commands)
    ) {
      for (const command of message.message as Command[]) {
        try {
          carryOut(command)
        } catch (error) {
          reporter.trouble(`${command.type}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
    }
  }
}
