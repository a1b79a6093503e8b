// What is wrong between a controller's IKE daemon and plain strongSwan, in plain words, whoever dials.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { EngineTunnel } from './engine-end.ts'
import { EngineLab, ID, SECRET, type SiteSettings } from './engine-lab.ts'
import { useLab } from './suite.ts'

let ipsec: EngineLab
useLab('ikewords', async lab => {
  ipsec = await EngineLab.create(lab)
})

const WRONGS: { what: string; site: SiteSettings; ours?: Partial<EngineTunnel>; words: string }[] = [
  { what: 'another secret', site: { secret: 'another' }, words: 'authentication failed' },
  { what: 'another IKE proposal', site: { ike: 'aes192-sha512-modp4096' }, words: 'no proposal chosen' },
  { what: 'another ESP proposal', site: { esp: 'aes192-sha512' }, words: 'no proposal chosen' },
  { what: 'other subnets', site: { remote: '10.99.0.0/16' }, words: 'traffic selectors unacceptable' },
  { what: 'another name', site: { id: 'elsewhere' }, words: 'authentication failed' },
  {
    what: 'another secret of IKEv1',
    site: { secret: 'another', version: 1 },
    ours: { ikeVersion: 1 },
    words: 'authentication failed',
  },
  {
    what: 'another proposal of IKEv1',
    site: { version: 1, ike: 'aes192-sha512-modp4096' },
    ours: { ikeVersion: 1 },
    words: 'no proposal chosen',
  },
  {
    what: 'other subnets of IKEv1',
    site: { version: 1, remote: '10.99.0.0/16' },
    ours: { ikeVersion: 1 },
    words: 'traffic selectors unacceptable',
  },
  { what: 'another IKE version', site: { version: 1 }, words: 'no proposal chosen' },
]

for (const { what, site, ours, words } of WRONGS) {
  test(`${what}: ${words}`, async () => {
    await ipsec.set()
    await ipsec.setSite(site)
    await ipsec.set(ipsec.tunnel(ours))
    const mark = ipsec.engine.mark()
    assert.match(await ipsec.order('initiate'), new RegExp(`IpsecError: ${words}`))
    const told = new RegExp(`problem ${ID} ${words}`)
    await ipsec.engine.waitFor(told, 5, mark)
    // As responder, with and without knowing where it comes from.
    for (const remote of [ipsec.there.ip4, '%any']) {
      await ipsec.set()
      await ipsec.set(ipsec.tunnel({ ...ours, remote }))
      const from = ipsec.engine.mark()
      await ipsec.siteDials()
      await ipsec.engine.waitFor(told, 5, from)
    }
  })
}

test('nobody there, and a name that is none', async () => {
  await ipsec.set(ipsec.tunnel({ remote: '192.0.2.99' }))
  assert.match(await ipsec.order('initiate', 7000), /no answer from the peer/)
  await ipsec.set(ipsec.tunnel({ remote: 'nowhere.invalid' }))
  assert.match(await ipsec.order('initiate'), /name not resolved: nowhere.invalid/)
})

test('secrets are in no log', () => {
  assert.match(ipsec.engine.output, /authentication of/)
  for (const form of [SECRET, Buffer.from(SECRET).toString('hex'), Buffer.from(SECRET).toString('base64')])
    assert.ok(!ipsec.engine.output.includes(form))
})
