// IPsec where the controller is not root, as in a container: a user with the capabilities for interfaces and low ports.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AttachmentDetail } from '../../node/service-ipsec.ts'
import { run } from './command.ts'
import { Controller } from './controller.ts'
import { until } from './lab.ts'
import { withOpenCheckout } from './open-checkout.ts'
import { useLab } from './suite.ts'

const USER = '10001'
const CAPABILITIES = '-all,+net_admin,+net_raw,+net_bind_service'
const AS_USER = [
  ...['setpriv', '--reuid', USER, '--regid', USER, '--clear-groups'],
  ...['--inh-caps', CAPABILITIES, '--ambient-caps', CAPABILITIES],
]
/**
 * What a container brings about, for this command alone: the device is its user's, too; the kernel's settings cannot be changed,
 * so that no gateway comes up and nothing else sets the start off.
 */
const CONTAINED = [
  'sh',
  '-euc',
  'mknod -m 666 tun c 10 200 && mount --bind tun /dev/net/tun && mount -o bind,ro /proc/sys /proc/sys && exec "$@"',
  'sh',
]

const use = useLab('unprivileged')

test('a site that was added before the start is carried from the start on, without root', async () => {
  const { lab } = use
  const controller = await Controller.init(await lab.host('hub'))
  const key = join(lab.directory, 'site.psk')
  writeFileSync(key, 'a pre-shared key of more than 32 characters\n', { mode: 0o600 })
  await controller.cli(
    ...['ipsec', 'add', 'site', '--remote', 'any', '--psk-file', key, '--remote-ts', '192.168.20.0/24'],
  )
  await run(['chown', '-R', USER, controller.dataDir])
  await run(['chmod', '711', lab.directory])
  await controller.up(90, [...withOpenCheckout(), ...CONTAINED, ...AS_USER])
  let engine: AttachmentDetail['engine'] | undefined
  await until('the IKE daemon runs', async () => {
    engine = (await controller.json<AttachmentDetail>('ipsec', 'show', 'site')).engine
    return engine.state === 'running'
  }).catch(error => assert.fail(`${error.message}: ${JSON.stringify(engine)}`))
})
