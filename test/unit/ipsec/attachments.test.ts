// Attachments as an operator handles them, without a controller that runs: everything that can be wrong is refused with a reason.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { withSecret } from '../../../node/ipsec/export.ts'
import type { AddAttachment, ChangeAttachment } from '../../../node/service-ipsec.ts'
import type { AttachmentValue } from '../../../state/kinds.ts'
import { newMesh, withService } from '../controller/home.ts'

const SECRET = 'a pre-shared key that nobody guesses'
const base64 = (text: string) => Buffer.from(text).toString('base64')

function request(change: Partial<AddAttachment> = {}): AddAttachment {
  return {
    name: 'paris',
    remote: '198.51.100.7',
    secret: base64(`${SECRET}\n`),
    localSubnets: ['10.77.0.0/24'],
    remoteSubnets: ['192.168.20.0/24'],
    ...change,
  }
}

const REFUSED: [what: string, change: Partial<AddAttachment>, code: string, reason: RegExp][] = [
  ['the overlay as its address', { remote: '10.77.0.9' }, 'invalid', /in the overlay itself/],
  ['no address', { remote: '198.51.100' }, 'invalid', /neither an address nor a host name/],
  ['no host', { remote: '0.0.0.0' }, 'invalid', /no host's address/],
  ['itself', { remote: '127.0.0.1' }, 'invalid', /no host's address/],
  ['itself by IPv6', { remote: '::1' }, 'invalid', /no host's address/],
  ['many', { remote: 'ff02::1' }, 'invalid', /no host's address/],
  ['an underscore', { remote: 'under_score.example' }, 'invalid', /neither an address nor a host name/],
  ['loopback here', { localSubnets: ['127.0.0.0/8'] }, 'invalid', /loopback/],
  ['any identity here', { localId: '%any' }, 'invalid', /--local-id/],
  ['a proposal without end', { ikeProposals: ['aes256-'.repeat(20)] }, 'invalid', /more than 120/],
  [
    'what IKEv1 does not have',
    { ikeVersion: 1, ikeProposals: ['aes256gcm16-prfsha384-ecp384'] },
    'invalid',
    /not for IKE version 1/,
  ],
  [
    'what is of IKE only',
    { espProposals: ['aes256gcm16-prfsha384'] },
    'invalid',
    /"prfsha384" is of IKE only/,
  ],
  ['what is of ESP only', { ikeProposals: ['aes256-sha256-ecp256-esn'] }, 'invalid', /"esn" is of ESP only/],
  ['no algorithm of ESP', { espProposals: ['foo'] }, 'invalid', /write it as aes256gcm16-ecp384$/],
  ['too many proposals', { espProposals: Array(17).fill('aes256gcm16') }, 'invalid', /17 proposals; 16 is/],
  ['an identity without end', { remoteId: 'x'.repeat(256) }, 'invalid', /--remote-id has more than 255/],
  [
    'too many networks',
    { remoteSubnets: Array.from({ length: 65 }, (_, n) => `172.16.${n}.0/24`) },
    'invalid',
    /--remote-ts names 65 prefixes, and 64 is the most/,
  ],
  ['no host name', { remote: 'no host!' }, 'invalid', /neither an address nor a host name/],
  ['nothing to dial', { remote: 'any', initiate: true }, 'invalid', /nothing to dial/],
  ['no secret', { secret: undefined }, 'invalid', /--psk-file FILE, or --ca-file/],
  ['an empty secret', { secret: base64('\n') }, 'invalid', /is empty/],
  ['two lines', { secret: base64('one\ntwo\n') }, 'invalid', /one line/],
  ['a secret without end', { secret: base64('x'.repeat(513)) }, 'invalid', /at most 512/],
  ['both', { authority: 'x' }, 'invalid', /not by both/],
  ['no certificate', { secret: undefined, authority: 'x' }, 'invalid', /no certificate in PEM/],
  ['host bits there', { remoteSubnets: ['192.168.20.1/24'] }, 'invalid', /the prefix is 192\.168\.20\.0\/24/],
  ['host bits here', { localSubnets: ['10.77.0.1/24'] }, 'invalid', /the prefix is 10\.77\.0\.0\/24/],
  ['nothing there', { remoteSubnets: [] }, 'invalid', /--remote-ts names no prefix/],
  ['nothing here', { localSubnets: [] }, 'invalid', /--local-ts names no prefix/],
  ['the overlay there', { remoteSubnets: ['10.77.0.0/24'] }, 'invalid', /overlay's own subnet/],
  ['everything there', { remoteSubnets: ['0.0.0.0/0'] }, 'invalid', /all traffic of every client/],
  ['half of everything', { remoteSubnets: ['128.0.0.0/1'] }, 'invalid', /all traffic of every client/],
  ['multicast', { remoteSubnets: ['239.0.0.0/8'] }, 'invalid', /multicast/],
  ['one twice', { remoteSubnets: ['192.168.20.0/24', '192.168.20.0/24'] }, 'invalid', /twice/],
  ['IPv6 there', { remoteSubnets: ['fd00:5::/64'] }, 'invalid', /IPv6/],
  ['an identity with quotes', { remoteId: 'a"b' }, 'invalid', /--remote-id/],
  ['a name of other letters', { remoteId: 'Büro' }, 'invalid', /--remote-id/],
  ['an unknown algorithm', { ikeProposals: ['aes256-banana'] }, 'invalid', /"banana" is no algorithm/],
  ['an unknown algorithm of ESP', { espProposals: ['rot13'] }, 'invalid', /--esp-proposal/],
  [
    'a proposal without a key exchange',
    { ikeProposals: ['aes256-sha256'] },
    'invalid',
    /lacks a key exchange/,
  ],
  ['one without integrity', { ikeProposals: ['aes256-ecp384'] }, 'invalid', /lacks an integrity algorithm/],
  ['one without a function', { ikeProposals: ['aes256gcm16-ecp384'] }, 'invalid', /lacks a pseudo-random/],
  ['one without a cipher', { espProposals: ['sha256-ecp384'] }, 'invalid', /lacks a cipher/],
  ['ESP without integrity', { espProposals: ['aes256'] }, 'invalid', /lacks an integrity algorithm/],
  ['one network on both sides', { localSubnets: ['192.168.20.0/24'] }, 'invalid', /named on both sides/],
  ['lifetimes the wrong way', { childLifetimeSeconds: 7200, ikeLifetimeSeconds: 3600 }, 'invalid', /longer/],
  ['an unknown controller', { controllers: ['beta'] }, 'not-found', /no controller is named beta/],
]

test('what is wrong is refused with a reason, and nothing is written', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    for (const [what, change, code, message] of REFUSED)
      await assert.rejects(service.addAttachment(request(change)), { code, message }, what)
    assert.deepEqual(await service.records('attachment'), [])
  })
})

test('an attachment is kept with sound defaults, and its secret nowhere in clear', async t => {
  const dataDir = await newMesh(t)
  const added = await withService(dataDir, service =>
    service.addAttachment(request({ controllers: ['alpha'] })),
  )
  assert.partialDeepStrictEqual(added, {
    name: 'paris',
    enabled: true,
    remote: '198.51.100.7',
    initiate: false,
    authentication: 'psk',
    localId: 'prod',
    remoteId: 'paris',
    ikeVersion: 2,
    dpdSeconds: 10,
    controllers: ['alpha'],
    state: 'down',
    notes: [],
  })
  await withService(dataDir, async service => {
    const told = JSON.stringify([
      await service.attachments(),
      await service.attachment('paris'),
      await service.records(),
      await service.events(),
      await service.exportAttachment('paris', 'strongswan'),
      await service.exportAttachment('paris', 'sheet'),
    ])
    for (const text of [SECRET, base64(SECRET)]) assert.ok(!told.includes(text))
  })
  for (const entry of readdirSync(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const bytes = readFileSync(join(entry.parentPath, entry.name))
    for (const text of [SECRET, base64(SECRET)]) assert.ok(!bytes.includes(text), entry.name)
  }
})

test('what comes of it is said', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addClient({ name: 'site', subnets: ['192.168.20.0/25'] })
    const { notes = [] } = await service.addAttachment(
      request({
        secret: base64('short'),
        ikeVersion: 1,
        ikeProposals: ['3des-sha1-modp1024'],
        remoteSubnets: ['192.168.20.0/24', '10.0.0.0/8', '198.51.100.0/24'],
      }),
    )
    const all = notes.join('\n')
    for (const expected of [
      /lies within 10\.0\.0\.0\/8 and stays/,
      /overlaps 192\.168\.20\.0\/25/,
      /3des, sha1, modp1024 can be broken/,
      /IKE version 1/,
      /is short/,
      /198\.51\.100\.7, where the device is dialled, lies in its own 198\.51\.100\.0\/24/,
    ])
      assert.match(all, expected)
    // What was added for the site itself is no rival of it.
    await service.addRoute({ cidr: '10.1.0.0/16', via: 'attachment:paris', probe: '10.1.0.1' })
    const { notes: again = [] } = await service.changeAttachment('paris', { dpdSeconds: 5 })
    assert.doesNotMatch(again.join(), /10\.1\.0\.0/)
  })
})

test('a name is given once, and a network belongs to one site', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addAttachment(request())
    await assert.rejects(service.addAttachment(request({ remoteSubnets: ['192.168.30.0/24'] })), {
      code: 'exists',
    })
    await assert.rejects(service.addAttachment(request({ name: 'berlin' })), {
      code: 'refused',
      message: /192\.168\.20\.0\/24 is at the site of attachment paris already/,
    })
    const { notes = [] } = await service.addAttachment(
      request({ name: 'berlin', remoteSubnets: ['192.168.20.0/25'] }),
    )
    assert.match(notes.join(), /192\.168\.20\.0\/25 overlaps 192\.168\.20\.0\/24 of paris; the longer prefix/)
    // It goes on to be shown, at both.
    assert.match((await service.attachment('paris')).notes!.join(), /overlaps 192\.168\.20\.0\/25 of berlin/)
    await assert.rejects(service.changeAttachment('berlin', { remoteSubnets: ['192.168.20.0/24'] }), {
      code: 'refused',
    })
  })
})

test('a device has one attachment', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addAttachment(request({ remoteId: 'router' }))
    const second = request({ name: 'second', remoteId: 'router', remoteSubnets: ['192.168.21.0/24'] })
    const refused = { code: 'refused', message: /attachment paris is with the device .*"router" already/ }
    await assert.rejects(service.addAttachment(second), refused)
    await assert.rejects(service.addAttachment({ ...second, remote: 'any' }), refused)
    // Another of the same name, elsewhere, or to which the controllers call themselves otherwise.
    await service.addAttachment({ ...second, remote: '198.51.100.8' })
    await service.addAttachment({
      ...second,
      ...{ name: 'third', localId: 'hub', remoteSubnets: ['192.168.22.0/24'] },
    })
    await assert.rejects(service.changeAttachment('second', { remote: '198.51.100.7' }), refused)
  })
})

test('a change changes what it names, and a new secret is another', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addAttachment(request({ dpdSeconds: 5 }))
    const sealed = async () => {
      const [{ value }] = await service.records('attachment')
      return (value as AttachmentValue).authentication
    }
    const before = await sealed()
    const change: ChangeAttachment = { remote: 'any', localSubnets: ['10.77.0.0/24', '172.16.0.0/16'] }
    assert.partialDeepStrictEqual(await service.changeAttachment('paris', change), {
      remote: 'any',
      dpdSeconds: 5,
      localSubnets: ['10.77.0.0/24', '172.16.0.0/16'],
    })
    assert.deepEqual(await sealed(), before)
    const renewed = await service.changeAttachment('paris', {
      secret: base64('another secret, as long as it takes'),
    })
    assert.notDeepEqual(await sealed(), before)
    assert.match(renewed.notes?.join() ?? '', /the device has to have the new key, too.*`ipsec up paris`/)
    await assert.rejects(service.changeAttachment('paris', { initiate: true }), {
      message: /nothing to dial/,
    })
    await assert.rejects(service.changeAttachment('lyon', {}), { code: 'not-found' })
  })
})

test('down keeps it down until up; what was added through it goes with it', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addAttachment(request())
    assert.equal((await service.attachmentDown('paris')).state, 'disabled')
    const route = { cidr: '192.168.20.64/26', via: 'attachment:paris' }
    assert.equal((await service.attachmentUp('paris')).enabled, true)
    await service.addRoute(route)
    await assert.rejects(service.addRoute({ ...route, cidr: '192.168.21.0/24' }), {
      code: 'refused',
      message: /not among the networks of paris/,
    })
    const routes = (await service.routes()).filter(({ via }) => via === 'attachment:paris')
    assert.deepEqual(
      routes.map(({ cidr, state, why }) => [cidr, state, why]),
      [
        ['192.168.20.0/24', 'down', 'no controller is running here'],
        ['192.168.20.64/26', 'down', 'no controller is running here'],
      ],
    )
    await service.removeAttachment('paris')
    assert.deepEqual(await service.records('route'), [])
    assert.deepEqual(await service.attachments(), [])
    await assert.rejects(service.removeAttachment('paris'), { code: 'not-found' })
  })
})

test('the export has what the other end needs, and a place for the secret', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    await service.addAttachment(request({ dpdSeconds: 2 }))
    const { fileName, content } = await service.exportAttachment('paris', 'strongswan')
    assert.equal(fileName, 'overmesh-paris.conf')
    for (const line of [
      /overmesh-paris-alpha \{/,
      /remote_addrs = vpn\.example\.net\n/,
      /local_ts = 192\.168\.20\.0\/24\n/,
      /remote_ts = 10\.77\.0\.0\/24\n/,
      /id = "paris"/,
      /id = "prod"/,
      /dpd_delay = 2s/,
      /start_action = start/,
      /secret = PUT-THE-PRE-SHARED-KEY-HERE/,
      // Each on a line of its own: strongSwan takes what follows on the same one for a part of the value.
      /^# {3}charon \{\n# {5}retransmit_timeout = 1\.0\n# {5}retransmit_base = 1\.2\n# {5}retransmit_tries = 3\n# {3}\}$/m,
    ])
      assert.match(content, line)
    assert.match(withSecret(content, Buffer.from(SECRET)), new RegExp(`secret = 0s${base64(SECRET)}\n`))
    const sheet = (await service.exportAttachment('paris', 'sheet')).content
    for (const line of [
      /vpn\.example\.net \(alpha\)/,
      /UDP 500 and 4500/,
      /192\.168\.20\.0\/24/,
      /every 2 s/,
    ])
      assert.match(sheet, line)
    assert.match(sheet, /IP protocol 50/)
    // ESP in UDP, and nothing else on the way.
    const always = await service.changeAttachment('paris', { natTraversal: 'always' })
    assert.equal(always.natTraversal, 'always')
    assert.match((await service.exportAttachment('paris', 'strongswan')).content, /encap = yes/)
    assert.doesNotMatch((await service.exportAttachment('paris', 'sheet')).content, /IP protocol 50/)
    await service.changeAttachment('paris', { natTraversal: 'auto' })
    assert.doesNotMatch((await service.exportAttachment('paris', 'strongswan')).content, /encap/)
    const [{ value }] = await service.records('attachment')
    assert.ok(!('natTraversal' in (value as AttachmentValue)), 'older versions know this record whole')
    for (const [remoteId, kind] of [
      ['%any', /%any \(whatever it calls itself\)/],
      ['keyid:paris', /\(of the type keyid\)/],
      ['198.51.100.7', /\(an address\)/],
    ] as const) {
      await service.changeAttachment('paris', { remoteId })
      assert.match((await service.exportAttachment('paris', 'sheet')).content, kind)
    }
    // Whom a controller dials has nothing to dial.
    await service.changeAttachment('paris', { initiate: true })
    assert.match((await service.exportAttachment('paris', 'strongswan')).content, /start_action = none/)
    // IKEv1 knows one pair of networks in each phase 2.
    await service.changeAttachment('paris', {
      ikeVersion: 1,
      localSubnets: ['10.77.0.0/24', '172.16.0.0/16'],
    })
    assert.equal(
      (await service.exportAttachment('paris', 'strongswan')).content.match(/local_ts/g)?.length,
      2,
    )
  })
})
