// TLS servers by OpenSSL's libssl over memory: ciphertext goes in and comes out by calls, and no stream stands between.
import koffi from 'koffi'
import { Arena } from './arena.ts'
import { type CertificateIdentity, identityOf } from './certificate.ts'
import { SysError } from './error.ts'
import { libcrypto, libssl, POINTER } from './library.ts'

const bio_new = libcrypto('BIO_new', POINTER, POINTER)
const bio_memory = libcrypto('BIO_s_mem', POINTER)
const bio_up_ref = libcrypto('BIO_up_ref', 'int', POINTER)
const bio_free = libcrypto('BIO_free', 'int', POINTER)
const bio_write = libcrypto('BIO_write', 'int', POINTER, POINTER, 'int')
const bio_read = libcrypto('BIO_read', 'int', POINTER, POINTER, 'int')
const bio_ctrl = libcrypto('BIO_ctrl', 'long', POINTER, 'int', 'long', POINTER)
const read_certificate = libcrypto('PEM_read_bio_X509', POINTER, POINTER, POINTER, POINTER, POINTER)
const read_key = libcrypto('PEM_read_bio_PrivateKey', POINTER, POINTER, POINTER, POINTER, POINTER)
const certificate_free = libcrypto('X509_free', 'void', POINTER)
const key_free = libcrypto('EVP_PKEY_free', 'void', POINTER)
const store_add = libcrypto('X509_STORE_add_cert', 'int', POINTER, POINTER)
const store_flags = libcrypto('X509_STORE_set_flags', 'int', POINTER, 'ulong')
const error_peek = libcrypto('ERR_peek_error', 'ulong')
const error_clear = libcrypto('ERR_clear_error', 'void')
const error_string = libcrypto('ERR_error_string_n', 'void', 'ulong', POINTER, 'size_t')

const method = libssl('TLS_server_method', POINTER)
const context_new = libssl('SSL_CTX_new', POINTER, POINTER)
const context_free = libssl('SSL_CTX_free', 'void', POINTER)
const context_ctrl = libssl('SSL_CTX_ctrl', 'long', POINTER, 'int', 'long', POINTER)
const context_options = libssl('SSL_CTX_set_options', 'uint64_t', POINTER, 'uint64_t')
const context_verify = libssl('SSL_CTX_set_verify', 'void', POINTER, 'int', POINTER)
const context_store = libssl('SSL_CTX_get_cert_store', POINTER, POINTER)
const context_add_ca = libssl('SSL_CTX_add_client_CA', 'int', POINTER, POINTER)
const context_certificate = libssl('SSL_CTX_use_certificate', 'int', POINTER, POINTER)
const context_key = libssl('SSL_CTX_use_PrivateKey', 'int', POINTER, POINTER)
const context_tickets = libssl('SSL_CTX_set_num_tickets', 'int', POINTER, 'size_t')
const context_ciphers = libssl('SSL_CTX_set_cipher_list', 'int', POINTER, POINTER)
const context_suites = libssl('SSL_CTX_set_ciphersuites', 'int', POINTER, POINTER)
const context_session_id = libssl('SSL_CTX_set_session_id_context', 'int', POINTER, POINTER, 'uint')
const ssl_new = libssl('SSL_new', POINTER, POINTER)
const ssl_free = libssl('SSL_free', 'void', POINTER)
const ssl_bio = libssl('SSL_set_bio', 'void', POINTER, POINTER, POINTER)
const ssl_accept_state = libssl('SSL_set_accept_state', 'void', POINTER)
const ssl_read = libssl('SSL_read', 'int', POINTER, POINTER, 'int')
const ssl_write = libssl('SSL_write', 'int', POINTER, POINTER, 'int')
const ssl_error = libssl('SSL_get_error', 'int', POINTER, 'int')
const ssl_finished = libssl('SSL_is_init_finished', 'int', POINTER)
const ssl_version = libssl('SSL_version', 'int', POINTER)
const ssl_certificate = libssl('SSL_get0_peer_certificate', POINTER, POINTER)
const ssl_verify_result = libssl('SSL_get_verify_result', 'long', POINTER)
const ssl_export = libssl(
  'SSL_export_keying_material',
  'int',
  ...[POINTER, POINTER, 'size_t', POINTER, 'size_t', POINTER, 'size_t', 'int'],
)

// Of openssl/ssl.h and openssl/bio.h, the same in all of 3.x.
const BIO_CTRL_RESET = 1
const SSL_ERROR_WANT_READ = 2
const SSL_ERROR_ZERO_RETURN = 6
const SSL_VERIFY_PEER = 1
const SSL_CTRL_MODE = 33
const SSL_CTRL_SET_SESS_CACHE_MODE = 44
const SSL_CTRL_SET_MAX_CERT_LIST = 51
const SSL_CTRL_CHAIN_CERT = 89
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123
const SSL_MODE_RELEASE_BUFFERS = 0x10
const X509_V_FLAG_PARTIAL_CHAIN = 0x80000
const SSL_OP_NO_TICKET = 2 ** 14
const SSL_OP_CIPHER_SERVER_PREFERENCE = 2 ** 22
const SSL_OP_NO_RENEGOTIATION = 2 ** 30
// Where libssl has Brotli, it would compress its certificates anew for each client (RFC 8879): 2 ms to save a packet.
const SSL_OP_NO_TX_CERTIFICATE_COMPRESSION = 2 ** 32
const SSL_OP_NO_RX_CERTIFICATE_COMPRESSION = 2 ** 33
const OPTIONS =
  SSL_OP_NO_TICKET +
  SSL_OP_CIPHER_SERVER_PREFERENCE +
  SSL_OP_NO_RENEGOTIATION +
  SSL_OP_NO_TX_CERTIFICATE_COMPRESSION +
  SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
const TLS1_2 = 0x0303
const VERSIONS: Record<number, string> = { 771: 'TLSv1.2', 772: 'TLSv1.3' }
/** Of openssl/x509_vfy.h, those that are told apart. No certificate counts as one of nobody, as in Node. */
const VERIFY_ERRORS: Record<number, string> = {
  2: 'UNABLE_TO_GET_ISSUER_CERT',
  9: 'CERT_NOT_YET_VALID',
  10: 'CERT_HAS_EXPIRED',
  26: 'INVALID_PURPOSE',
}

const SESSION_ID = 'overmesh'

/** What one TLS record holds at most. */
const RECORD = 16_384
const IN_AT = 0
const OUT_AT = RECORD
const SMALL_AT = 2 * RECORD
const SMALL = 1024
const scratch = new Arena(2 * RECORD + SMALL)

// One pair for all connections: libssl takes all there is to read, keeps what is not a whole record yet to itself, and what
// it writes is taken away at once.
const incoming = Number(bio_new(Number(bio_memory())))
const outgoing = Number(bio_new(Number(bio_memory())))

// The handshake goes on whatever the certificate is: who refuses it says so inside TLS. What was wrong with it must not stay
// among the errors, where it would be taken for one of the connection.
const goOn = Number(
  koffi.address(
    koffi.register(
      () => {
        error_clear()
        return 1
      },
      koffi.pointer(koffi.proto('int OvermeshVerify(int, uint64_t)')),
    ),
  ),
)

export interface TlsContextOptions {
  /** PEM: the leaf first, then its issuers. */
  cert: string
  /** PEM, not encrypted. */
  key: string
  /** PEM, one or more certificates each: whom client certificates may be issued by. Each is believed without the one above it. */
  ca: readonly string[]
  /** Of TLS 1.2, as in `openssl ciphers`. */
  ciphers: string
  /** Of TLS 1.3, colons between. */
  suites: string
  /** Bytes of certificates that a client may send. */
  maxCertificates: number
}

/** What came of giving a connection ciphertext, in the order in which it is to be looked at. */
export interface TlsStep {
  /** Ciphertext for the peer. */
  output: Uint8Array | undefined
  /** What the peer sent, a record each. */
  data: Uint8Array[]
  /** Why the connection is over: OpenSSL's reason, or an empty one when the peer closed it. */
  over: string | undefined
}

/** Everything that the connections of a server have in common. Throws SysError `ECRYPTO` when OpenSSL refuses a part of it. */
export class TlsContext {
  #context: number

  constructor(options: TlsContextOptions) {
    error_clear()
    this.#context = Number(context_new(Number(method())))
    if (this.#context === 0) throw new SysError('SSL_CTX_new', 'ENOMEM')
    try {
      configure(this.#context, options)
    } catch (error) {
      this.free()
      throw error
    }
  }

  /** A connection that waits for a ClientHello. The caller frees it. */
  accept(): TlsConnection {
    const ssl = Number(ssl_new(this.#context))
    if (ssl === 0) throw new SysError('SSL_new', 'ENOMEM')
    bio_up_ref(incoming)
    bio_up_ref(outgoing)
    ssl_bio(ssl, incoming, outgoing)
    ssl_accept_state(ssl)
    return new TlsConnection(ssl)
  }

  /** Connections that are up go on. */
  free(): void {
    if (this.#context !== 0) context_free(this.#context)
    this.#context = 0
  }
}

/** One connection. After `free`, and after a step that said it is over, there is nothing to be had of it. */
export class TlsConnection {
  /** Those that were not freed yet. */
  static living = 0
  #ssl: number

  constructor(ssl: number) {
    this.#ssl = ssl
    TlsConnection.living++
  }

  /** Whether the handshake is through. */
  get secure(): boolean {
    return ssl_finished(this.#open()) === 1
  }

  /** Ciphertext from the peer. */
  receive(bytes: Uint8Array): TlsStep {
    const ssl = this.#open()
    const data: Uint8Array[] = []
    let over: string | undefined
    forget()
    for (let at = 0; at < bytes.length && over === undefined; at += RECORD) {
      const part = bytes.subarray(at, at + RECORD)
      scratch.bytes.set(part, IN_AT)
      bio_write(incoming, scratch.address(IN_AT, part.length), part.length)
      over = readAll(ssl, data)
    }
    return { output: takeOutput(), data, over }
  }

  /** A message of at most 16,384 bytes in a record of its own: its ciphertext; undefined when OpenSSL refuses. */
  write(bytes: Uint8Array): Uint8Array | undefined {
    const ssl = this.#open()
    if (bytes.length > RECORD) throw new SysError('SSL_write', 'ERANGE_ARENA', `${bytes.length} bytes`)
    forget()
    scratch.bytes.set(bytes, IN_AT)
    const written = ssl_write(ssl, scratch.address(IN_AT, bytes.length), bytes.length)
    scratch.bytes.fill(0, IN_AT, IN_AT + bytes.length)
    if (written !== bytes.length) error_clear()
    return takeOutput()
  }

  /** Keying material after RFC 5705 without a context: at most 1,024 bytes. */
  exportKey(length: number, label: string): Uint8Array {
    const labelAt = IN_AT
    const labelLength = Buffer.from(scratch.bytes.buffer, labelAt, SMALL).write(label, 'latin1')
    const done = ssl_export(
      this.#open(),
      scratch.address(SMALL_AT, length),
      length,
      scratch.address(labelAt, labelLength),
      labelLength,
      0,
      0,
      0,
    )
    if (done !== 1) throw failure('SSL_export_keying_material')
    const key = scratch.bytes.slice(SMALL_AT, SMALL_AT + length)
    scratch.bytes.fill(0, SMALL_AT, SMALL_AT + length)
    return key
  }

  /** Of the certificate that the peer showed; undefined when it showed none, or one whose serial number no one may issue. */
  peer(): CertificateIdentity | undefined {
    const certificate = Number(ssl_certificate(this.#open()))
    return certificate === 0 ? undefined : identityOf(certificate)
  }

  /** OpenSSL's name of what is wrong with the peer's certificate, as Node shortens it; undefined when it is good. */
  verifyError(): string | undefined {
    const ssl = this.#open()
    if (Number(ssl_certificate(ssl)) === 0) return VERIFY_ERRORS[2]
    const code = Number(ssl_verify_result(ssl))
    return code === 0 ? undefined : (VERIFY_ERRORS[code] ?? `error ${code}`)
  }

  /** Such as `TLSv1.3`. */
  get version(): string {
    return VERSIONS[ssl_version(this.#open())] ?? ''
  }

  /** Without a word to the peer. */
  free(): void {
    if (this.#ssl === 0) return
    ssl_free(this.#ssl)
    this.#ssl = 0
    TlsConnection.living--
  }

  #open(): number {
    if (this.#ssl === 0) throw new SysError('tls', 'ECRYPTO', 'the connection was freed')
    return this.#ssl
  }
}

/** Whatever a connection left behind, the next one is not to see. */
function forget(): void {
  error_clear()
  bio_ctrl(incoming, BIO_CTRL_RESET, 0, 0)
  bio_ctrl(outgoing, BIO_CTRL_RESET, 0, 0)
}

/** Takes all that is readable; why the connection is over, if it is. */
function readAll(ssl: number, data: Uint8Array[]): string | undefined {
  for (;;) {
    const read = ssl_read(ssl, scratch.address(OUT_AT, RECORD), RECORD)
    if (read <= 0) {
      const error = ssl_error(ssl, read)
      if (error === SSL_ERROR_WANT_READ) return undefined
      return error === SSL_ERROR_ZERO_RETURN ? '' : takeReason()
    }
    data.push(scratch.bytes.slice(OUT_AT, OUT_AT + read))
    scratch.bytes.fill(0, OUT_AT, OUT_AT + read)
  }
}

function takeOutput(): Uint8Array | undefined {
  let all: Uint8Array | undefined
  for (;;) {
    const length = bio_read(outgoing, scratch.address(OUT_AT, RECORD), RECORD)
    if (length <= 0) return all
    const part = scratch.bytes.subarray(OUT_AT, OUT_AT + length)
    all = all ? Buffer.concat([all, part]) : part.slice()
    if (length < RECORD) return all
  }
}

/** The first error's reason in OpenSSL's words, such as `no shared cipher`; forgets all errors. */
function takeReason(): string {
  const code = Number(error_peek())
  error_string(code, scratch.address(SMALL_AT, SMALL), SMALL)
  error_clear()
  const text = scratch.bytes.subarray(SMALL_AT, SMALL_AT + SMALL)
  // error:0A0000C1:SSL routines::no shared cipher
  const words = Buffer.from(text.subarray(0, text.indexOf(0))).toString('latin1')
  return code === 0 ? 'the connection broke' : words.split(':').slice(4).join(':')
}

function failure(call: string): SysError {
  return new SysError(call, 'ECRYPTO', takeReason())
}

function configure(context: number, options: TlsContextOptions): void {
  must('minimum version', context_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2, 0))
  context_options(context, OPTIONS)
  // No tickets and no cache: OpenVPN resumes nothing, and they would keep each client's certificate.
  must('SSL_CTX_set_num_tickets', context_tickets(context, 0))
  context_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0, 0)
  context_ctrl(context, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, 0)
  context_ctrl(context, SSL_CTRL_SET_MAX_CERT_LIST, options.maxCertificates, 0)
  withText(options.ciphers, text => must('SSL_CTX_set_cipher_list', context_ciphers(context, text)))
  withText(options.suites, text => must('SSL_CTX_set_ciphersuites', context_suites(context, text)))
  withText(SESSION_ID, text => must('session id', context_session_id(context, text, SESSION_ID.length)))
  context_verify(context, SSL_VERIFY_PEER, goOn)
  identify(context, options.cert, options.key)
  const store = Number(context_store(context))
  // A chain ends at the first of them that it comes to: one signature less to check for each client.
  must('X509_STORE_set_flags', store_flags(store, X509_V_FLAG_PARTIAL_CHAIN))
  for (const pem of options.ca) {
    eachCertificate(pem, certificate => {
      must('X509_STORE_add_cert', store_add(store, certificate))
      must('SSL_CTX_add_client_CA', context_add_ca(context, certificate))
    })
  }
}

/** Who the server is. */
function identify(context: number, cert: string, key: string): void {
  eachCertificate(cert, (certificate, index) => {
    if (index === 0) must('SSL_CTX_use_certificate', context_certificate(context, certificate))
    else must('SSL_CTX_add1_chain_cert', context_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, certificate))
  })
  withMemory(key, memory => {
    // An empty passphrase: without one, OpenSSL would ask the terminal.
    scratch.bytes[SMALL_AT] = 0
    const read = Number(read_key(memory, 0, 0, scratch.address(SMALL_AT, 1)))
    if (read === 0) throw failure('PEM_read_bio_PrivateKey')
    const done = context_key(context, read)
    key_free(read)
    must('SSL_CTX_use_PrivateKey', done)
  })
}

function must(call: string, result: number): void {
  if (result !== 1) throw failure(call)
}

function withText(text: string, use: (address: number) => void): void {
  const bytes = Buffer.from(`${text}\0`, 'latin1')
  scratch.bytes.set(bytes, IN_AT)
  use(scratch.address(IN_AT, bytes.length))
}

function withMemory(text: string, use: (bio: number) => void): void {
  const memory = Number(bio_new(Number(bio_memory())))
  try {
    const bytes = Buffer.from(text, 'latin1')
    for (let at = 0; at < bytes.length; at += RECORD) {
      const part = bytes.subarray(at, at + RECORD)
      scratch.bytes.set(part, IN_AT)
      bio_write(memory, scratch.address(IN_AT, part.length), part.length)
      scratch.bytes.fill(0, IN_AT, IN_AT + part.length)
    }
    bytes.fill(0)
    use(memory)
  } finally {
    bio_free(memory)
  }
}

/** Throws SysError `ECRYPTO` when there is none. */
function eachCertificate(pem: string, use: (certificate: number, index: number) => void): void {
  withMemory(pem, memory => {
    for (let index = 0; ; index++) {
      const certificate = Number(read_certificate(memory, 0, 0, 0))
      if (certificate === 0) {
        if (index === 0) throw failure('PEM_read_bio_X509')
        // The end of the text is an error too.
        error_clear()
        return
      }
      try {
        use(certificate, index)
      } finally {
        certificate_free(certificate)
      }
    }
  })
}
