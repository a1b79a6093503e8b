import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatIpv6, HostPortError, parseHostPort, parseIpv6 } from '../../../node/net/ip.ts'

test('IPv6 text has the form of RFC 5952', () => {
  const canonical: [string, string][] = [
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8::0:1', '2001:db8::1'],
    ['fe80::0204:61ff:fe9d:f156', 'fe80::204:61ff:fe9d:f156'],
    ['::ffff:c0a8:0102', '::ffff:192.168.1.2'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ]
  for (const [text, expected] of canonical) assert.equal(formatIpv6(parseIpv6(text)!), expected, text)
})

test('an address is read from and written to where it lies', () => {
  const bytes = new Uint8Array(20).fill(0xee)
  bytes.set(parseIpv6('2001:db8::9')!, 3)
  assert.equal(formatIpv6(bytes, 3), '2001:db8::9')
})

test('what is no IPv6 address is none', () => {
  const bad = [
    '',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '1::2:3:4:5:6:7:8',
    '12345::',
    'g::',
    ' ::1',
    '::1 ',
    '[::1]',
    'fe80::1%eth0',
    '::1/128',
    '1.2.3.4',
    '::1.2.3',
    '::1.2.3.04',
    '::1.2.3.4:5',
    '1.2.3.4::',
    '1:2:3:4:5:6:7:1.2.3.4',
    ':1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:',
    `${'0000:'.repeat(8)}::`,
  ]
  for (const text of bad) assert.equal(parseIpv6(text), undefined, text)
})

test('host and port are read as an operator writes them', () => {
  const good: [string, string, number, string][] = [
    ['1.2.3.4:1194', '1.2.3.4', 1194, 'ipv4'],
    ['1.2.3.4', '1.2.3.4', 99, 'ipv4'],
    ['[::1]:65535', '::1', 65535, 'ipv6'],
    ['[2001:DB8:0::1]', '2001:db8::1', 99, 'ipv6'],
    ['VPN.Example.net:1', 'vpn.example.net', 1, 'name'],
    ['localhost', 'localhost', 99, 'name'],
    ['a-b.x9', 'a-b.x9', 99, 'name'],
  ]
  for (const [text, host, port, family] of good) {
    assert.deepEqual(parseHostPort(text, 99), { host, port, family }, text)
  }
  assert.equal(parseHostPort('127.0.0.1:0', 99, 0).port, 0)
})

test('an error says which part is wrong', () => {
  const bad: [string, HostPortError['code'], RegExp][] = [
    ['', 'SYNTAX', /no host/],
    [':1194', 'SYNTAX', /no host/],
    ['::1', 'SYNTAX', /brackets/],
    ['::1:1194', 'SYNTAX', /brackets/],
    ['[::1', 'SYNTAX', /not closed/],
    ['[::1]1194', 'SYNTAX', /bracket/],
    ['[1.2.3.4]:1194', 'HOST', /IPv6/],
    ['[fe80::1%eth0]:1', 'HOST', /IPv6/],
    ['1.2.3.4:', 'PORT', /from 1 to 65535/],
    ['1.2.3.4:0', 'PORT', /from 1 to 65535/],
    ['1.2.3.4:65536', 'PORT', /from 1 to 65535/],
    ['1.2.3.4:01194', 'PORT', /number/],
    ['1.2.3.4:+1', 'PORT', /number/],
    ['1.2.3.4:1e3', 'PORT', /number/],
    ['1.2.3.4.5:1', 'HOST', /IPv4/],
    ['1.2.3.999:1', 'HOST', /IPv4/],
    ['vpn example:1', 'HOST', /host name/],
    ['-a.net:1', 'HOST', /host name/],
    ['a..net:1', 'HOST', /host name/],
    [`${'a'.repeat(64)}.net:1`, 'HOST', /host name/],
    [`${'a.'.repeat(130)}net:1`, 'HOST', /host name/],
  ]
  for (const [text, code, message] of bad) {
    assert.throws(
      () => parseHostPort(text, 1194),
      (error: unknown) =>
        error instanceof HostPortError &&
        error.code === code &&
        message.test(error.message) &&
        error.message.length < 200,
      text,
    )
  }
})
