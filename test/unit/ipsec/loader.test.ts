import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import type { Tunnel } from '../../../node/ipsec/engine.ts'
import { Loader } from '../../../node/ipsec/strongswan/loader.ts'
import { ViciClient } from '../../../node/ipsec/vici/client.ts'
import type { ViciSection } from '../../../node/ipsec/vici/message.ts'
import { FakeDaemon } from './fake-daemon.ts'
import { certificate, ID, tunnel } from './tunnels.ts'

let daemon: FakeDaemon
let client: ViciClient
let loader: Loader
let refused: string[]
beforeEach(async () => {
  refused = []
  daemon = await FakeDaemon.start()
  daemon.answer = command => (command === 'load-key' ? { success: 'yes', id: 'key-1' } : { success: 'yes' })
  client = await ViciClient.connect(daemon.path)
  loader = new Loader(client, ({ name }, reason) => refused.push(`${name}: ${reason}`))
})
afterEach(async () => {
  client.close()
  await daemon.stop()
})

const apply = async (tunnels: Tunnel[], addresses: string[] = []): Promise<string[]> => {
  daemon.asked.length = 0
  return loader.apply(tunnels.map(each => ({ tunnel: each, addresses })))
}
const commands = (): string[] => daemon.asked.map(({ command }) => command)

test('loads what is new, and nothing again that is the same', async () => {
  assert.deepEqual(await apply([tunnel()]), [])
  assert.deepEqual(commands(), ['load-shared', 'load-conn'])
  const [{ message }] = daemon.asked
  assert.equal(JSON.stringify(message), `{"id":"${ID}","type":"IKE","data":"a secret","owners":["branch"]}`)
  assert.deepEqual(await apply([tunnel({ initiate: true, name: 'renamed' })]), [])
  assert.deepEqual(commands(), [])
})

test('replaces and unloads what is another or gone, and leaves the others alone', async () => {
  const other = tunnel({ id: 'b', remoteId: 'b' })
  await apply([tunnel(), other])
  assert.deepEqual(await apply([tunnel({ dpdSeconds: 7 }), other]), [ID])
  assert.deepEqual(commands(), ['unload-conn', 'unload-shared', 'load-shared', 'load-conn'])
  assert.ok(daemon.asked.every(({ message }) => !JSON.stringify(message).includes('"b"')))
  assert.deepEqual(await apply([tunnel({ dpdSeconds: 7 })]), ['b'])
  assert.deepEqual(commands(), ['unload-conn', 'unload-shared'])
})

test('another secret is another tunnel', async () => {
  await apply([tunnel()])
  const secret = { method: 'psk', secret: Buffer.from('another') } as const
  assert.deepEqual(await apply([tunnel({ authentication: secret })]), [ID])
})

test('other addresses of the same name are loaded without ending what is up', async () => {
  const named = tunnel({ remote: 'a.example', remoteId: undefined })
  await apply([named], ['192.0.2.7'])
  assert.deepEqual(await apply([named], ['192.0.2.8']), [])
  assert.deepEqual(commands(), ['load-shared', 'load-conn'])
  assert.deepEqual(daemon.asked[0].message.owners, ['a.example', '192.0.2.8'])
})

test('one by a host name waits until that has an address: the daemon would ask DNS, and do nothing else meanwhile', async () => {
  const named = tunnel({ remote: 'a.example' })
  assert.deepEqual(await loader.apply([{ tunnel: named, addresses: [] }]), [])
  assert.deepEqual(commands(), [])
  assert.deepEqual(await apply([named], ['192.0.2.7']), [])
  assert.deepEqual(commands(), ['load-shared', 'load-conn'])
  const [, { message }] = daemon.asked
  assert.deepEqual((message[ID] as ViciSection).remote_addrs, ['192.0.2.7'])
  // Another name is another device.
  assert.deepEqual(await apply([tunnel({ remote: 'b.example' })]), [ID])
  assert.deepEqual(commands(), ['unload-conn', 'unload-shared'])
})

test('certificates and keys; a key that two tunnels have is unloaded with the last', async () => {
  const first = tunnel({ authentication: certificate })
  const second = tunnel({ id: 'b', authentication: certificate })
  await apply([first, second])
  assert.deepEqual(commands().slice(0, 3), ['load-cert', 'load-key', 'load-conn'])
  await apply([second])
  assert.deepEqual(commands(), ['unload-conn'])
  await apply([])
  assert.deepEqual(commands(), ['unload-conn', 'unload-key'])
})

test('a renewed certificate of this end is loaded without ending what is up, and the old key goes', async () => {
  daemon.answer = (command, message) =>
    command === 'load-key' ? { success: 'yes', id: `id of ${message.data}` } : { success: 'yes' }
  const made = (authentication: Partial<typeof certificate | Record<string, string>> = {}) =>
    tunnel({ authentication: { ...certificate, ...authentication } })
  await apply([made()])
  assert.deepEqual(await apply([made({ certificate: 'renewed', key: 'new key' })]), [])
  assert.deepEqual(commands(), ['load-cert', 'load-key', 'load-conn', 'unload-key'])
  assert.equal(daemon.asked.at(-1)?.message.id, 'id of own key')
  assert.deepEqual(await apply([made({ certificate: 'renewed', key: 'new key' })]), [])
  assert.deepEqual(commands(), [])
  assert.deepEqual(await apply([made({ remoteAuthority: 'another' })]), [ID])
  const old = (own: string) => ({ ...made({ certificate: own }), ikeVersion: 1 as const })
  await apply([old('one')])
  assert.deepEqual(await apply([old('other')]), [ID], 'IKEv1 shows it whenever it rekeys')
})

test('certificates that no tunnel has any more do not gather for ever', async () => {
  for (let turn = 0; turn < 100; turn++)
    await loader.apply([
      { tunnel: tunnel({ authentication: { ...certificate, key: `${turn}` } }), addresses: [] },
    ])
  assert.ok(commands().includes('clear-creds'))
  const after = commands().slice(commands().indexOf('clear-creds'))
  assert.deepEqual(after.slice(1, 4), ['load-cert', 'load-key', 'load-conn'])
})

test('a tunnel that the daemon refuses is told, and the next one is loaded', async () => {
  daemon.answer = (command, message) =>
    command === 'load-conn' && ID in message
      ? { success: 'no', errmsg: 'invalid proposal' }
      : { success: 'yes' }
  await apply([tunnel(), tunnel({ id: 'b', name: 'other', remoteId: 'b' })])
  assert.deepEqual(refused, ['branch: invalid proposal'])
  assert.equal(commands().filter(command => command === 'load-conn').length, 2)
  assert.ok(commands().includes('unload-shared'))
})

test('so is one that cannot be sent', async () => {
  await apply([tunnel({ remoteId: 'x'.repeat(70_000) }), tunnel({ id: 'b', remoteId: 'b' })])
  assert.match(refused.join(), /^branch: a VICI value has at most 65535 bytes$/)
  assert.equal(commands().filter(command => command === 'load-conn').length, 1)
})

test('a daemon that is gone is the caller’s to handle', async () => {
  daemon.disconnect()
  await assert.rejects(apply([tunnel()]), { name: 'ViciError' })
})
