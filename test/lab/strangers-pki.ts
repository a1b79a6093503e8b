// Certificates that openssl(1) makes: for the stock server that we compare with, and for strangers who try to come in.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.ts'

export interface KeyPair {
  certificateFile: string
  keyFile: string
  certificate: string
  key: string
}

export interface IssueOptions {
  use: 'serverAuth' | 'clientAuth'
  /** openssl's `-not_before`/`-not_after`, such as 20200101000000Z. @default now, for ten days */
  from?: string
  to?: string
  /** Further lines of the extension section, such as `subjectAltName=…`. */
  extensions?: string[]
}

/** A certificate authority in a directory of its own, with P-256 keys as Overmesh has them. */
export class StrangersPki {
  readonly directory: string
  readonly authority: KeyPair
  private constructor(directory: string, authority: KeyPair) {
    this.directory = directory
    this.authority = authority
  }

  /** Issues in the name of an authority that exists: what somebody could do who got hold of its key. */
  static takeOver(directory: string, certificateFile: string, keyFile: string): StrangersPki {
    prepare(directory, certificateFile, keyFile)
    return new StrangersPki(directory, readPair(certificateFile, keyFile))
  }

  static async create(directory: string, commonName = 'Stranger CA'): Promise<StrangersPki> {
    const keyFile = join(directory, 'ca.key')
    const certificateFile = join(directory, 'ca.crt')
    prepare(directory, certificateFile, keyFile)
    await run([
      ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', keyFile, '-out', certificateFile, '-days', '10', '-subj', `/CN=${commonName}`],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ])
    return new StrangersPki(directory, readPair(certificateFile, keyFile))
  }

  async issue(commonName: string, options: IssueOptions): Promise<KeyPair> {
    const { use, from, to, extensions = [] } = options
    const file = (suffix: string): string => join(this.directory, `${commonName}.${suffix}`)
    const section = [
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature',
      `extendedKeyUsage=${use}`,
      ...extensions,
    ]
    writeFileSync(file('ext'), `${section.join('\n')}\n`)
    await run([
      ...['openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${commonName}`],
    ])
    await run([
      ...['openssl', 'ca', '-batch', '-notext', '-config', join(this.directory, 'ca.cnf')],
      ...['-in', file('csr'), '-out', file('crt'), '-extfile', file('ext')],
      ...(from && to ? ['-startdate', from, '-enddate', to] : ['-days', '10']),
    ])
    return readPair(file('crt'), file('key'))
  }
}

const readPair = (certificateFile: string, keyFile: string): KeyPair => ({
  certificateFile,
  keyFile,
  certificate: readFileSync(certificateFile, 'utf8'),
  key: readFileSync(keyFile, 'utf8'),
})

function prepare(directory: string, certificateFile: string, keyFile: string): void {
  mkdirSync(join(directory, 'issued'), { recursive: true })
  writeFileSync(join(directory, 'index.txt'), '')
  writeFileSync(join(directory, 'ca.cnf'), authorityConfig(directory, certificateFile, keyFile))
}

const authorityConfig = (directory: string, certificateFile: string, keyFile: string): string => `
[ca]
default_ca = stranger
[stranger]
dir = ${directory}
database = $dir/index.txt
rand_serial = yes
new_certs_dir = $dir/issued
certificate = ${certificateFile}
private_key = ${keyFile}
default_md = sha256
policy = anything
unique_subject = no
[anything]
commonName = supplied
`
