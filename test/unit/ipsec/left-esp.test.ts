// Associations and policies of a daemon that was killed, as ip(8) of Linux 7.2 lists them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { removeLeft, removingLeft } from '../../../node/ipsec/strongswan/left-esp.ts'

const STATES = `src 192.0.2.11 dst 192.0.2.21
	proto esp spi 0xc3d9aac2 reqid 1 mode tunnel
	replay-window 0 flag af-unspec
	aead rfc4106(gcm(aes)) 0x00 128
	anti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000
	dir out
src 2001:db8::21 dst 2001:db8::11
	proto esp spi 0xc5e092e5 reqid 2 mode tunnel
	replay-window 32 flag af-unspec
	encap type espinudp sport 4500 dport 4500 addr 0.0.0.0
	dir in
src 192.0.2.11 dst 192.0.2.21
	proto esp spi 0x00001000 reqid 0 mode tunnel
src 192.0.2.11 dst 192.0.2.21
	proto esp spi 0x00001001 reqid 7 mode transport
src 192.0.2.11 dst 192.0.2.21
	proto esp spi 0x00001002 reqid 7 mode tunnel
	mark 0x1/0xffffffff
`
const POLICIES = `src 10.77.0.0/16 dst 192.168.20.0/24 
	dir out priority 379519 ptype main 
	tmpl src 192.0.2.11 dst 192.0.2.21
		proto esp spi 0xcf7815ac reqid 1 mode tunnel
src 192.168.20.0/24 dst 10.77.0.0/16 
	dir fwd priority 379519 ptype main 
	tmpl src 192.0.2.21 dst 192.0.2.11
		proto esp reqid 1 mode tunnel
src 10.1.0.0/16 dst 10.2.0.0/16 
	dir out priority 0 
	tmpl src 192.0.2.11 dst 192.0.2.99
		proto esp reqid 0 mode tunnel
src 10.1.0.0/16 dst 10.2.0.0/16 proto tcp dport 80 
	dir out priority 0 
	tmpl src 192.0.2.11 dst 192.0.2.99
		proto esp reqid 3 mode tunnel
src ::/0 dst ::/0 
	socket in priority 0 ptype main 
src 0.0.0.0/0 dst 0.0.0.0/0 
	socket out priority 0 ptype main 
`

const REMOVED = [
  'xfrm policy delete src 10.77.0.0/16 dst 192.168.20.0/24 dir out',
  'xfrm policy delete src 192.168.20.0/24 dst 10.77.0.0/16 dir fwd',
  'xfrm state delete src 192.0.2.11 dst 192.0.2.21 proto esp spi 0xc3d9aac2',
  'xfrm state delete src 2001:db8::21 dst 2001:db8::11 proto esp spi 0xc5e092e5',
]

test('what an IKE daemon left is removed, and nothing that was set by hand', () => {
  assert.deepEqual(removingLeft(STATES, POLICIES), REMOVED)
  assert.deepEqual(removingLeft('', ''), [])
})

test('by one command, and by none where nothing is left', async () => {
  const ran: string[] = []
  const kernel = (states: string, policies: string) => ({
    run: async (program: string, args: readonly string[], input = '') => {
      ran.push([program, ...args].join(' ') + (input && `: ${input}`))
      const stdout = args[1] === 'state' ? states : args[1] === 'policy' ? policies : ''
      return { code: 0, stdout, stderr: '', missing: false }
    },
  })
  await removeLeft(kernel('', ''))
  assert.deepEqual(ran.splice(0), ['ip xfrm state', 'ip xfrm policy'])
  await removeLeft(kernel(STATES, POLICIES))
  assert.equal(ran.at(-1), `ip -force -batch -: ${REMOVED.map(line => `${line}\n`).join('')}`)
})
