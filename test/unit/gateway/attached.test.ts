// Sites that are reached by IPsec: which routes and rules the kernel gets for them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AttachedSites, GatewayDescription } from '../../../node/gateway/description.ts'
import { changeRoutes, readKernelRoutes } from '../../../node/gateway/kernel-routes.ts'
import { rulesetOf } from '../../../node/gateway/ruleset.ts'
import { parseCidr } from '../../../node/net/ip.ts'

const cidr = (text: string) => parseCidr(text)!
const describe = (attached: Partial<AttachedSites>, kernelRoutes: string[] = []): GatewayDescription => ({
  tunName: 'overmesh0',
  subnet: cidr('10.77.0.0/16'),
  kernelRoutes: kernelRoutes.map(cidr),
  forwarded: [],
  masqueraded: [],
  attached: {
    prefixes: [],
    expected: attached.prefixes ?? [],
    device: 'ipsec0',
    source: '10.77.0.2',
    ...attached,
  },
})
const PARIS = cidr('192.168.20.0/24')
const route = (dst: string, dev: string, protocol = '172') => ({
  dst,
  dev,
  protocol,
  metric: 4096,
  flags: [],
})
const present = (...routes: object[]) => readKernelRoutes(JSON.stringify(routes))

test('what is carried here goes to where ESP is done, from the overlay address', () => {
  const { batch } = changeRoutes(describe({ prefixes: [PARIS] }), [])
  assert.deepEqual(batch, ['route replace 192.168.20.0/24 dev ipsec0 proto 172 metric 4096 src 10.77.0.2'])
})

test('a site that moves here or away changes its interface', () => {
  const came = changeRoutes(describe({ prefixes: [PARIS] }), present(route('192.168.20.0/24', 'overmesh0')))
  assert.deepEqual(came.batch, [
    'route delete 192.168.20.0/24 dev overmesh0 proto 172 metric 4096',
    'route replace 192.168.20.0/24 dev ipsec0 proto 172 metric 4096 src 10.77.0.2',
  ])
  const there = present(route('192.168.20.0/24', 'ipsec0'))
  assert.deepEqual(changeRoutes(describe({ prefixes: [PARIS] }), there).batch, [])
  assert.deepEqual(changeRoutes(describe({}, ['192.168.20.0/24']), there).batch, [
    'route delete 192.168.20.0/24 dev ipsec0 proto 172 metric 4096',
    'route replace 192.168.20.0/24 dev overmesh0 proto 172 metric 4096',
  ])
})

test('a network that the machine has itself is not taken from it, and that is told', () => {
  const own = present({ dst: '192.168.20.0/24', dev: 'eth1', protocol: '2', flags: [] })
  const { batch, problems } = changeRoutes(describe({ prefixes: [PARIS] }), own)
  assert.deepEqual(batch, [])
  assert.match(problems[0], /does not send 192\.168\.20\.0\/24 to its site.*on eth1/)
})

test('where the kernel does ESP there is no interface: a site is routed into the overlay wherever it is up, or its packets would leave in clear', () => {
  const route4 = 'route replace 192.168.20.0/24 dev overmesh0 proto 172 metric 4096'
  assert.deepEqual(changeRoutes(describe({ prefixes: [PARIS], device: undefined }), []).batch, [route4])
  const there = present(route('192.168.20.0/24', 'overmesh0'))
  assert.deepEqual(changeRoutes(describe({ prefixes: [PARIS], device: undefined }), there).batch, [])
})

const rules = (attached: Partial<AttachedSites>) => rulesetOf('overmesh-x', describe(attached), [])

test('no site: nothing is forwarded', () => {
  assert.equal(rules({}).forwards[4], false)
  assert.doesNotMatch(rules({}).text, /sites/)
})

test('packets to and from a site pass by IPsec or not at all; those checks come before all that accepts', () => {
  const { text, forwards } = rules({ prefixes: [PARIS] })
  assert.ok(forwards)
  const lines = text.split('\n').map(line => line.trim())
  const at = (rule: string) => {
    const found = lines.indexOf(rule)
    assert.notEqual(found, -1, `${rule} in\n${text}`)
    return found
  }
  const sealing = [
    'oifname "overmesh0" ip saddr @sites iifname != "ipsec0" counter drop',
    'oifname "overmesh0" iifname "ipsec0" ip saddr != @expected counter drop',
    'iifname "overmesh0" ip daddr @sites oifname != "ipsec0" counter drop',
  ].map(at)
  const accepting = [
    'ct direction reply ct state established,related accept',
    'iifname "overmesh0" ip daddr @sites oifname "ipsec0" accept',
    'oifname "overmesh0" ip saddr @expected iifname "ipsec0" accept',
  ].map(at)
  assert.ok(Math.max(...sealing) < Math.min(...accepting))
})

test('where the kernel does ESP, the packet itself says whether it came or goes by it', () => {
  const { text } = rules({ prefixes: [PARIS], device: undefined })
  assert.match(text, /oifname "overmesh0" ip saddr @sites meta ipsec missing counter drop/)
  assert.match(text, /iifname "overmesh0" ip daddr @sites rt ipsec exists accept/)
  assert.match(text, /hook output [^}]*oifname "overmesh0" icmp type redirect drop/)
  assert.doesNotMatch(rules({ prefixes: [PARIS] }).text, /redirect/)
})

test('from a site that is not up yet, packets are taken, and none go there', () => {
  const { text, forwards } = rules({ expected: [PARIS] })
  assert.ok(forwards)
  assert.match(text, /set sites \{\n\s+type ipv4_addr\n\s+flags interval\n\s+\}/)
  assert.match(text, /set expected \{[^}]*elements = \{ 192\.168\.20\.0\/24 \}/)
})

test('networks that lie in others, and the same twice, are one', () => {
  const { text } = rules({ prefixes: [PARIS, cidr('192.168.20.128/25'), PARIS] })
  assert.match(text, /set sites \{[^}]*elements = \{ 192\.168\.20\.0\/24 \}/)
})
