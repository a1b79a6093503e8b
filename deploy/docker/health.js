// Exit status 0 when the controller of this container lives and is meshed: it knows of OVERMESH_CONTROLLERS controllers
// (default: 1), and reaches one of the others if there are any. One that is drained is healthy: it need not be replaced.
import { get } from 'node:http'

const socketPath = `${process.env.OVERMESH_DATA ?? '/var/lib/overmesh'}/run/api.sock`

function end(healthy, words) {
  process.stdout.write(`${words}\n`)
  process.exit(healthy ? 0 : 1)
}

function ask(path) {
  return new Promise(resolve => {
    get({ socketPath, path, timeout: 2000 }, answer => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', part => {
        text += part
      })
      answer.on('end', () => resolve({ status: answer.statusCode, body: JSON.parse(text) }))
    })
      .on('timeout', () => end(false, 'no answer'))
      .on('error', ({ message }) => end(false, message))
  })
}

const life = await ask('/healthz')
if (life.status !== 200) end(false, life.body.problems?.join('; ') ?? `status ${life.status}`)
const { status, body } = await ask('/v1/status')
if (status !== 200) end(false, `status ${status}`)
const peers = body.controllers.filter(({ self }) => !self)
const up = peers.filter(({ link }) => link.up).length
const known = peers.length + 1 >= Number(process.env.OVERMESH_CONTROLLERS ?? 1)
end(known && (peers.length === 0 || up > 0), `${up} of ${peers.length} other controllers in reach`)
