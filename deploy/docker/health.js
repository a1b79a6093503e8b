// Exit status 0 when the controller of this container answers and is meshed: it knows of OVERMESH_CONTROLLERS controllers
// (default: 1), and reaches one of the others if there are any.
import { get } from 'node:http'

const socketPath = `${process.env.OVERMESH_DATA ?? '/var/lib/overmesh'}/run/api.sock`

function end(healthy, words) {
  process.stdout.write(`${words}\n`)
  process.exit(healthy ? 0 : 1)
}

get({ socketPath, path: '/v1/status', timeout: 4000 }, answer => {
  let text = ''
  answer.setEncoding('utf8')
  answer.on('data', part => {
    text += part
  })
  answer.on('end', () => {
    if (answer.statusCode !== 200) return end(false, `status ${answer.statusCode}`)
    const peers = JSON.parse(text).controllers.filter(({ self }) => !self)
    const up = peers.filter(({ link }) => link.up).length
    const known = peers.length + 1 >= Number(process.env.OVERMESH_CONTROLLERS ?? 1)
    end(known && (peers.length === 0 || up > 0), `${up} of ${peers.length} other controllers in reach`)
  })
})
  .on('timeout', () => end(false, 'no answer'))
  .on('error', ({ message }) => end(false, message))
