// The plain HTTP side of figures and health, as strangers may treat it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { MAX_CONNECTIONS, MetricsServer } from '../../../node/api/metrics-server.ts'
import type { Health } from '../../../node/service-observation.ts'

async function serve(t: TestContext, headersMs?: number) {
  const problems: unknown[] = []
  const state = {
    health: { alive: true, ready: true, problems: [] } as Health,
    metrics: async (request?: { clients?: boolean }) => `clients ${request?.clients === true}\n`,
  }
  const server = await MetricsServer.start(
    { host: '127.0.0.1', port: 0, family: 'ipv4' },
    {
      service: { health: async () => state.health, metrics: request => state.metrics(request) },
      onProblem: problem => problems.push(problem),
      headersMs,
    },
  )
  t.after(() => server.stop())
  const url = `http://${server.address}`
  return { server, url, state, problems, port: Number(server.address.split(':')[1]) }
}

async function allOf(socket: Socket): Promise<string> {
  let text = ''
  socket.setEncoding('utf8').on('data', part => {
    text += part
  })
  await new Promise(resolve => socket.on('error', () => {}).once('close', resolve))
  return text
}

test('figures, life and readiness, each with its status', async t => {
  const { url, state } = await serve(t)
  const page = await fetch(`${url}/metrics`)
  assert.equal(page.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal(await page.text(), 'clients false\n')
  assert.equal(await (await fetch(`${url}/metrics?clients=1`)).text(), 'clients true\n')
  state.health = { alive: true, ready: false, problems: ['it is drained'] }
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
  const ready = await fetch(`${url}/readyz`)
  assert.equal(ready.status, 503)
  assert.deepEqual(await ready.json(), state.health)
  state.health = { alive: false, ready: false, problems: ['it hangs'] }
  assert.equal((await fetch(`${url}/healthz`)).status, 503)
  const head = await fetch(`${url}/metrics`, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
})

test('nothing else is there, whatever is asked and sent', async t => {
  const { url, port, problems } = await serve(t)
  for (const path of ['/', '/v1/status', '/metrics/', '/%00', '/metrics%2f..', '//metrics', '/?x=/metrics'])
    assert.equal((await fetch(`${url}${path}`)).status, 404, path)
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const answer = await fetch(`${url}/metrics`, { method, ...(method !== 'OPTIONS' && { body: 'x' }) })
    assert.equal(answer.status, 405, method)
    assert.equal(answer.headers.get('allow'), 'GET, HEAD')
  }
  for (const bytes of [
    '\x16\x03\x01\x02\x00\x01',
    'HELLO\r\n\r\n',
    `GET / HTTP/1.1\r\nx: ${'y'.repeat(9000)}\r\n\r\n`,
  ]) {
    const socket = connect(port, '127.0.0.1')
    socket.write(bytes, 'latin1')
    assert.match(await allOf(socket), /^HTTP\/1\.1 4\d\d /)
  }
  assert.deepEqual(problems, [])
})

test('a body that comes is not waited for, and its connection is closed', async t => {
  const { port } = await serve(t)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n')
  const text = await allOf(socket)
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.match(text, /connection: close/)
})

test('a request whose headers never end is cut off', async t => {
  const { port } = await serve(t, 200)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /metrics HTTP/1.1\r\n')
  const drip = setInterval(() => socket.write('x: y\r\n'), 50)
  socket.on('error', () => {})
  const text = await allOf(socket)
  clearInterval(drip)
  assert.match(text, /^(HTTP\/1\.1 408 |$)/)
})

test('connections are bounded: one too many is closed, and there is room again later', async t => {
  const { port, url } = await serve(t)
  const all = Array.from({ length: MAX_CONNECTIONS }, () => connect(port, '127.0.0.1'))
  await Promise.all(all.map(socket => once(socket, 'connect')))
  const extra = connect(port, '127.0.0.1')
  extra.write('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n')
  extra.on('error', () => {})
  assert.equal(await allOf(extra), '')
  await Promise.all(all.map(socket => once(socket.destroy(), 'close')))
  for (;;) {
    const status = await fetch(`${url}/readyz`)
      .then(({ status }) => status)
      .catch(() => 0)
    if (status === 200) break
    await new Promise(resolve => setTimeout(resolve, 10))
  }
})

test('a failure inside is a 500 that tells nothing of it', async t => {
  const { url, state, problems } = await serve(t)
  state.metrics = () => Promise.reject(new Error('ENOENT /secret/path'))
  const answer = await fetch(`${url}/metrics`)
  assert.equal(answer.status, 500)
  assert.doesNotMatch(await answer.text(), /secret/)
  assert.equal(problems.length, 1)
})
