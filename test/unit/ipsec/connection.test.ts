import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startProblem, strongswanConf } from '../../../node/ipsec/strongswan/configuration.ts'
import {
  childNames,
  connectionMessage,
  indistinct,
  secretOwners,
} from '../../../node/ipsec/strongswan/connection.ts'
import { decodeMessage, encodeMessage, type ViciSection } from '../../../node/ipsec/vici/message.ts'
import { certificate, ID, tunnel } from './tunnels.ts'

const section = (...args: Parameters<typeof connectionMessage>) =>
  JSON.parse(JSON.stringify(decodeMessage(encodeMessage(connectionMessage(...args)))))[args[1]] as Record<
    string,
    never
  >

test('a connection that answers, and never dials by itself', () => {
  const conn = section(tunnel(), ID, [])
  assert.deepEqual(conn.remote_addrs, ['192.0.2.2'])
  assert.deepEqual(conn.local, { auth: 'psk', id: 'mesh' })
  assert.deepEqual(conn.remote, { auth: 'psk', id: 'branch' })
  assert.equal(conn.unique, 'no')
  assert.equal(section(tunnel({ ikeVersion: 1 }), ID, []).unique, 'replace')
  assert.equal(conn.mobike, 'yes')
  assert.equal(conn.encap, 'no')
  assert.equal(section(tunnel({ encapsulate: true }), ID, []).encap, 'yes')
  assert.equal(conn.dpd_delay, '30s')
  assert.equal(conn.rekey_time, '9000s')
  assert.equal(conn.over_time, '1000s')
  const child = conn.children[`${ID}-1`] as ViciSection
  assert.deepEqual(child.local_ts, ['10.77.0.0/16'])
  assert.deepEqual(child.remote_ts, ['10.50.0.0/24'])
  assert.deepEqual([child.life_time, child.rekey_time, child.rand_time], ['1000s', '900s', '100s'])
  for (const action of ['start_action', 'close_action']) assert.equal(child[action], 'none')
  assert.equal(child.dpd_action, 'clear')
  assert.match((child.esp_proposals as string[])[0], /^aes256gcm16-aes128gcm16-x25519-/)
})

test('proposals that are named replace the defaults; dead peer detection can be off', () => {
  const conn = section(
    tunnel({ ikeProposals: ['aes256-sha256-modp2048'], espProposals: ['aes256-sha256'], dpdSeconds: 0 }),
    ID,
    [],
  )
  assert.deepEqual(conn.proposals, ['aes256-sha256-modp2048'])
  assert.deepEqual((conn.children[`${ID}-1`] as ViciSection).esp_proposals, ['aes256-sha256'])
  assert.equal(conn.dpd_delay, '0s')
})

test('IKEv1 has a child for each pair of subnets, and a time after which a peer is dead', () => {
  const old = tunnel({ ikeVersion: 1, remoteSubnets: ['10.50.0.0/24', '10.51.0.0/24'], dpdSeconds: 10 })
  assert.deepEqual(childNames(old), [`${ID}-1`, `${ID}-2`])
  const conn = section(old, ID, [])
  assert.equal(conn.version, '1')
  assert.equal(conn.dpd_timeout, '26s')
  const children = Object.values(conn.children) as ViciSection[]
  assert.deepEqual(
    children.map(child => child.remote_ts),
    [['10.50.0.0/24'], ['10.51.0.0/24']],
  )
  const many = Array.from({ length: 100 }, (_, index) => `10.60.${index}.0/24`)
  assert.equal(childNames(tunnel({ ikeVersion: 1, remoteSubnets: many })).length, 64)
})

test('certificates travel with the connection, and only the one authority is trusted for it', () => {
  const conn = section(tunnel({ authentication: certificate, remoteId: undefined }), ID, [])
  assert.deepEqual(conn.local, { auth: 'pubkey', id: 'mesh', certs: ['own certificate'] })
  assert.deepEqual(conn.remote, { auth: 'pubkey', cacerts: ['their authority'] })
})

test('a host name is where its addresses are; one that was connected is dialled where it was', () => {
  assert.deepEqual(section(tunnel({ remote: 'a.example' }), ID, ['192.0.2.7']).remote_addrs, ['192.0.2.7'])
  const behindNat = section(tunnel({ remote: '%any' }), 'back', [], { host: '198.51.100.1', port: 40_123 })
  assert.deepEqual(behindNat.remote_addrs, ['198.51.100.1'])
  assert.deepEqual([behindNat.remote_port, behindNat.local_port], ['40123', '4500'])
  const plain = section(tunnel({ remote: '%any' }), 'back', [], { host: '198.51.100.1', port: 500 })
  assert.equal(plain.remote_port, undefined)
})

test('a secret opens nothing but its own tunnel', () => {
  assert.deepEqual(secretOwners(tunnel(), []), ['branch'])
  assert.deepEqual(secretOwners(tunnel({ remoteId: undefined }), []), ['192.0.2.2'])
  assert.equal((section(tunnel({ remoteId: undefined }), ID, []).remote as ViciSection).id, '192.0.2.2')
  assert.deepEqual(secretOwners(tunnel({ remote: 'a.example', remoteId: undefined }), ['192.0.2.7']), [
    'a.example',
    '192.0.2.7',
  ])
  assert.deepEqual(secretOwners(tunnel({ remote: '%any', remoteId: undefined }), []), ['%any'])
})

test('tunnels that a device could not choose between are found', () => {
  const wild = { remote: '%any', remoteId: undefined }
  const first = tunnel({ id: 'a', name: 'first', ...wild })
  assert.deepEqual([...indistinct([first, tunnel({ id: 'b', ...wild })])], [['b', 'first']])
  assert.equal(indistinct([first, tunnel({ id: 'b', ...wild, localId: 'other' })]).size, 0)
  // Whoever has the secret of the one without a name could call itself by the other's.
  assert.deepEqual([...indistinct([first, tunnel({ id: 'b', remote: '%any' })])], [['a', 'branch']])
  assert.equal(indistinct([first, tunnel({ id: 'b' })]).size, 0)
  const named = [tunnel({ id: 'b', remote: '%any' }), tunnel({ id: 'c', remote: '%any', remoteId: 'c' })]
  assert.equal(indistinct(named).size, 0)
  assert.equal(indistinct([first, tunnel({ id: 'b', ...wild, authentication: certificate })]).size, 0)
  // IKEv1 looks for the secret by addresses.
  const old = tunnel({ id: 'c', name: 'old', remote: '%any', ikeVersion: 1 })
  const oldToo = tunnel({ id: 'd', remote: '%any', ikeVersion: 1, remoteId: 'another' })
  assert.deepEqual([...indistinct([old, oldToo])], [['d', 'old']])
  const twice = tunnel({ id: 'ffffffffffffffff', name: 'twice' })
  assert.deepEqual([...indistinct([tunnel(), twice])], [[twice.id, 'branch']])
  assert.deepEqual([...indistinct([tunnel({ remote: '%any' }), twice])], [[twice.id, 'branch']])
  assert.equal(indistinct([tunnel(), { ...twice, remote: '192.0.2.3' }]).size, 0)
  assert.equal(indistinct([tunnel(), { ...twice, localId: 'hub' }]).size, 0)
  const vouched = tunnel({ authentication: certificate, remoteId: undefined, remote: '%any' })
  assert.equal(indistinct([vouched, { ...vouched, id: twice.id }]).size, 1)
  const other = { ...certificate, remoteAuthority: 'another' }
  assert.equal(indistinct([vouched, { ...vouched, id: twice.id, authentication: other }]).size, 0)
})

test('the daemon reads nothing but its own file, routes nothing, and has no plugin for ESP that the kernel does', () => {
  const user = strongswanConf({ socket: '/private/vici', esp: 'user', ignoreInterfaces: ['overmesh0'] })
  assert.doesNotMatch(user, /include|\/etc/)
  assert.match(user, /install_routes = no/)
  assert.match(user, /interfaces_ignore = overmesh0\n/)
  assert.match(user, /socket = unix:\/\/\/private\/vici\n/)
  assert.match(user, /load = .* kernel-libipsec kernel-netlink /)
  const kernel = strongswanConf({ socket: '/private/vici', esp: 'kernel', ignoreInterfaces: [] })
  assert.doesNotMatch(kernel, /libipsec|interfaces_ignore/)
  assert.match(kernel, /load = .* kernel-netlink /)
})

test('why the daemon does not start is none of the plugins that are spare, which strongSwan 6 of Debian lacks', () => {
  const log = [
    '00[LIB] providers loaded by OpenSSL: legacy default',
    "00[LIB] plugin 'sha2': failed to load - sha2_plugin_create not found and no plugin file available",
    "00[LIB] plugin 'kdf': failed to load - kdf_plugin_create not found and no plugin file available",
    '00[LIB] created TUN device: ipsec0',
    "00[NET] binding socket 'unix:///run/x/charon.vici' failed: Permission denied",
    "00[LIB] plugin 'kernel-libipsec': failed to load - kernel_libipsec_plugin_create returned NULL",
  ]
  assert.deepEqual(log.map(startProblem).filter(Boolean), [
    "binding socket 'unix:///run/x/charon.vici' failed: Permission denied",
    "plugin 'kernel-libipsec': failed to load - kernel_libipsec_plugin_create returned NULL",
  ])
})
