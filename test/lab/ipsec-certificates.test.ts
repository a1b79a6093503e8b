// Certificates between a controller's IKE daemon and plain strongSwan: the mesh's own on this end, another authority's on the other.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMeshRoot, issueIssuingCa } from '../../node/pki/authority.ts'
import { signedBy } from '../../node/pki/certificate.ts'
import { formatPrivateKey } from '../../node/pki/keys.ts'
import { EngineLab, ID } from './engine-lab.ts'
import { type KeyPair, StrangersPki } from './strangers-pki.ts'
import { useLab } from './suite.ts'

const DAY = 86_400
let ipsec: EngineLab
let root: string
let authority: StrangersPki
let device: KeyPair
const keys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })

useLab('ikecerts', async lab => {
  ipsec = await EngineLab.create(lab)
  const directory = join(lab.directory, 'authority')
  mkdirSync(directory)
  authority = await StrangersPki.create(directory, 'Site CA')
  device = await authority.issue('site', { use: 'clientAuth', extensions: ['subjectAltName=DNS:site'] })
})

/** Makes what a controller has: a certificate under its issuing CA, under the mesh's root; the same with each renewal. */
function controller() {
  const now = Date.now()
  const mesh = createMeshRoot({ meshName: 'prod', meshId: 'a1b2c3d4e5f60718', now, lifetime: DAY })
  const issuing = keys()
  const request = {
    controllerId: '0123456789abcdef0123',
    controllerName: 'one',
    publicKey: issuing.publicKey,
    now,
  }
  const ca = issueIssuingCa(mesh, { ...request, lifetime: DAY })
  root = mesh.pem
  return () => {
    const own = keys()
    const { pem } = signedBy(
      { certificate: ca.certificate, privateKey: issuing.privateKey },
      {
        subject: { CN: 'mesh' },
        publicKey: own.publicKey,
        role: { kind: 'server' },
        names: [{ dns: 'mesh' }],
        now,
        lifetime: DAY,
      },
    )
    return { certificate: pem, chain: [ca.pem, mesh.pem], key: formatPrivateKey(own.privateKey) }
  }
}

const siteConfiguration = (rootFile: string): string => `connections {
  mesh {
    version = 2
    remote_addrs = ${ipsec.here.ip4}
    send_cert = always
    local {
      auth = pubkey
      certs = ${device.certificateFile}
      id = site
    }
    remote {
      auth = pubkey
      cacerts = ${rootFile}
      id = mesh
    }
    children {
      net {
        local_ts = 10.50.0.0/24
        remote_ts = 10.77.0.0/16
      }
    }
  }
}`

test('up by either end, also with a renewed certificate, and refused under another authority', async () => {
  const certify = controller()
  const own = certify()
  const rootFile = join(ipsec.site.directory, 'root.pem')
  writeFileSync(rootFile, root)
  // swanctl looks for keys beside its file.
  mkdirSync(join(ipsec.site.directory, 'private'))
  writeFileSync(join(ipsec.site.directory, 'private', 'site.pem'), device.key)
  await ipsec.site.load(siteConfiguration(rootFile))
  const certificates = {
    method: 'certificate',
    ...own,
    remoteAuthority: authority.authority.certificate,
  } as const
  await ipsec.set(ipsec.tunnel({ certificates }))
  assert.equal(await ipsec.order('initiate'), 'well')
  assert.match(await ipsec.order('sas'), /"remoteId":"site"/)

  await ipsec.set()
  const mark = ipsec.engine.mark()
  await ipsec.set(ipsec.tunnel({ certificates, remote: '%any' }))
  await ipsec.siteDials()
  await ipsec.engine.waitFor(new RegExp(`up ${ID}`), 5, mark)
  const settled = ipsec.engine.mark()
  await ipsec.set(ipsec.tunnel({ certificates: { ...certificates, ...certify() }, remote: '%any' }))
  await sleep(500)
  assert.equal(ipsec.engine.count(/engine: (?:up|down)/, settled), 0, 'what is up goes on')
  await ipsec.site.swanctl('--terminate', '--ike', 'mesh')
  await ipsec.siteDials()
  await ipsec.engine.waitFor(new RegExp(`up ${ID}`), 5, settled)

  const directory = join(ipsec.directory, 'stranger')
  mkdirSync(directory)
  const stranger = await StrangersPki.create(directory, 'Another CA')
  await ipsec.set(
    ipsec.tunnel({ certificates: { ...certificates, remoteAuthority: stranger.authority.certificate } }),
  )
  assert.match(await ipsec.order('initiate'), /IpsecError: certificate not trusted/)
  assert.ok(!ipsec.engine.output.includes(own.key.split('\n')[1]))
})
