// Run on a host of the lab: `serve` takes TCP connections and UDP datagrams on a port and says so; `knock` tries an address's
// ports, and says of each whether anything at all came back; `ask` does so of one datagram, from a port of its own choice.
import dgram from 'node:dgram'
import net from 'node:net'

/** ms in which an answer on the lab's own wire has come, or does not. */
const PATIENCE = 2000

const [mode, ...rest] = process.argv.slice(2)
if (mode === 'serve') serve(Number(rest[0]))
else if (mode === 'ask') await ask(Number(rest[0]), rest[1], Number(rest[2]))
else await knock(rest[0], rest.slice(1).map(Number))

function serve(port: number): void {
  const udp = dgram.createSocket({ type: 'udp6', ipv6Only: false })
  udp.on('message', (_message, from) => {
    console.log(`udp from ${from.address}`)
    udp.send('hello', from.port, from.address)
  })
  udp.bind(port)
  const tcp = net.createServer(socket => {
    console.log(`tcp from ${socket.remoteAddress}`)
    socket.on('error', () => {})
    socket.end('hello')
  })
  tcp.listen(port, () => console.log('serving'))
}

async function knock(address: string, ports: number[]): Promise<void> {
  const seen = await Promise.all(
    ports.flatMap(port => [
      tcpKnock(address, port).then(answer => `tcp/${port} ${answer}`),
      udpKnock(address, port).then(answer => `udp/${port} ${answer}`),
    ]),
  )
  console.log(seen.filter(each => !each.endsWith(' nothing')).join('\n'))
}

/** `address` may be a broadcast address. */
function ask(from: number, address: string, port: number): Promise<void> {
  return new Promise(resolve => {
    const socket = dgram.createSocket('udp4')
    const end = (answer: string) => {
      console.log(answer)
      socket.removeAllListeners()
      socket.on('error', () => {})
      socket.close()
      resolve()
    }
    socket.on('message', () => end('answered'))
    socket.on('error', () => {})
    socket.bind(from, () => {
      socket.setBroadcast(true)
      socket.send('hello', port, address)
    })
    setTimeout(() => end('nothing'), PATIENCE).unref()
  })
}

function tcpKnock(host: string, port: number): Promise<string> {
  return new Promise(resolve => {
    const socket = net.connect({ host, port })
    const end = (answer: string) => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('connect', () => end('open'))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'EPERM' ? 'nothing' : String(error.code)),
    )
    setTimeout(() => end('nothing'), PATIENCE)
  })
}

function udpKnock(host: string, port: number): Promise<string> {
  return new Promise(resolve => {
    const socket = dgram.createSocket(net.isIPv6(host.split('%')[0]) ? 'udp6' : 'udp4')
    const end = (answer: string) => {
      socket.removeAllListeners()
      socket.on('error', () => {})
      socket.close()
      resolve(answer)
    }
    socket.on('message', () => end('open'))
    socket.on('error', (error: NodeJS.ErrnoException) =>
      end(error.code === 'EPERM' ? 'nothing' : String(error.code)),
    )
    socket.connect(port, host, () => socket.send('hello'))
    setTimeout(() => end('nothing'), PATIENCE)
  })
}
