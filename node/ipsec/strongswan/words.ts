// What lines of charon's log mean, in plain words. The lines are those of strongSwan's libcharon at log level 1; what a peer
// chose to be called stands within them, so that each pattern begins where the line begins.

export type ProblemKind =
  | 'proposal'
  | 'authentication'
  | 'certificate'
  | 'selectors'
  | 'no answer'
  | 'name'
  | 'version'
  | 'lost'

/** What was said of the same IKE SA before. */
export interface Exchange {
  /** Proposals as received and as configured here, in strongSwan's notation. */
  readonly received?: string
  readonly configured?: string
  /** As the remote end calls itself, and this end. */
  readonly remoteId?: string
  readonly localId?: string
  /** What is wrong with the remote end's certificate was told in particular. */
  readonly isCertificateInvalid?: boolean
}

export interface Words {
  readonly kind: ProblemKind
  readonly text: string
}

type Wording = readonly [RegExp, ProblemKind, (match: RegExpExecArray, exchange: Exchange) => string]

/** Unanswered repetitions after which a remote end that is dialled is said not to answer: about 4 s. */
const SILENT_AFTER = 3

const offered = ({ received, configured }: Exchange): string =>
  received && configured ? ` (it offers ${short(received)}; here: ${short(configured)})` : ''
const called = ({ remoteId, localId }: Exchange): string =>
  remoteId ? ` (it calls itself "${remoteId}"${localId ? `, and this end "${localId}"` : ''})` : ''
const WRONG_SECRET = 'authentication failed: its pre-shared key is another'
/** In UDP, transport mode is between hosts: of selectors that are networks, none is left (libcharon's child_create.c). */
const NO_TUNNEL_MODE =
  'traffic selectors unacceptable: the remote end asks for transport mode; set it to tunnel mode'
/** As Debian's is from version 6.1 on. */
const NO_IKE1 = "this controller's strongSwan is built without IKE version 1"
const NOT_ACCEPTED =
  'authentication failed: the remote end did not accept our identity, pre-shared key or certificate'

const WORDINGS: readonly Wording[] = [
  [
    /^received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built/,
    'proposal',
    () => 'no proposal chosen: the remote end accepts none of our ESP proposals',
  ],
  [
    /^received NO_PROPOSAL_CHOSEN (?:error )?notify/,
    'proposal',
    () =>
      'no proposal chosen: the remote end accepts none of ours, or knows no connection with this controller',
  ],
  [
    /^(?:received proposals unacceptable|no acceptable (?:proposal|.* algorithm) found|no proposal found)/,
    'proposal',
    (_, exchange) =>
      `no proposal chosen: what the remote end offers is not accepted here${offered(exchange)}`,
  ],
  [
    /^no (?:IKE|matching) config found for \S+, sending NO_PROPOSAL_CHOSEN/,
    'proposal',
    () => 'no proposal chosen: the remote end uses another IKE version than this attachment',
  ],
  // Without a connection's name: what this daemon cannot do, it can do for none.
  [/^IKE version 1 not supported$/, 'version', () => NO_IKE1],
  [
    /^received unsupported IKE version 1\.\d+ from \S+, /,
    'proposal',
    () =>
      `no proposal chosen: the remote end uses IKE version 1, which this attachment does not, or else ${NO_IKE1}`,
  ],
  [/^received AUTHENTICATION_FAILED (?:error )?notify/, 'authentication', () => NOT_ACCEPTED],
  [
    /^tried \d+ shared keys? for .*, but MAC mismatched/,
    'authentication',
    (_, exchange) => `${WRONG_SECRET}${called(exchange)}`,
  ],
  [/^calculated HASH does not match HASH payload/, 'authentication', () => WRONG_SECRET],
  [
    /^(?:could not decrypt payloads|decryption failed|invalid (?:ID_V1|HASH_V1) payload)/,
    'authentication',
    () => 'authentication failed: what the remote end sent cannot be read, as with another pre-shared key',
  ],
  [
    /^received (?:INVALID_HASH_INFORMATION|PAYLOAD_MALFORMED|INVALID_KEY_INFORMATION) error notify/,
    'authentication',
    () => 'authentication failed: the remote end cannot read what we sent, as with another pre-shared key',
  ],
  [
    /^no shared key found for (.*)/,
    'authentication',
    (_, exchange) =>
      `authentication failed: the remote end bears another name than expected${called(exchange)}`,
  ],
  [
    /^no (?:alternative config|matching peer config|peer config) found/,
    'authentication',
    (_, exchange) => `authentication failed: no attachment has these identities${called(exchange)}`,
  ],
  [
    /^ID[ir]r? '(.*)' does not match to '(.*)'/,
    'authentication',
    ([, found, expected]) =>
      `authentication failed: the remote end calls itself "${found}", not "${expected}"`,
  ],
  [
    /^constraint check failed: identity '(.*)' required/,
    'authentication',
    ([, expected], exchange) =>
      `authentication failed: the remote end is not "${expected}"${called(exchange)}`,
  ],
  [
    /^constraint (?:check failed: peer not authenticated|requires )/,
    'certificate',
    () => 'certificate not trusted: another authority signed it than the one of this attachment',
  ],
  [
    /^(?:no trusted \S+ public key found for|no issuer certificate found for|issuer is ".*", but no)/,
    'certificate',
    (_, { isCertificateInvalid }) =>
      isCertificateInvalid
        ? ''
        : "certificate not trusted: the attachment's authority did not sign the remote end's certificate",
  ],
  [
    /^subject certificate invalid/,
    'certificate',
    () =>
      "certificate not trusted: the remote end's certificate has expired, or is not valid yet (look at the clocks)",
  ],
  [/^no private key found for/, 'certificate', () => 'this controller has no key for its certificate'],
  [
    /^received TS_UNACCEPTABLE notify|^received INVALID_ID_INFORMATION error notify/,
    'selectors',
    () =>
      'traffic selectors unacceptable: the remote end does not have these subnets, on its side or on ours',
  ],
  [
    /^traffic selectors (.*) === (.*) unacceptable/,
    'selectors',
    ([, ours, theirs]) =>
      ours.trim() === '' || theirs.trim() === ''
        ? NO_TUNNEL_MODE
        : `traffic selectors unacceptable: the remote end asks for ${short(ours.trim())} here and ${short(theirs.trim())} there`,
  ],
  [
    /^no matching CHILD_SA config found for (.*) === (.*)/,
    'selectors',
    ([, ours, theirs]) =>
      `traffic selectors unacceptable: the remote end asks for ${short(ours.trim())} here and ${short(theirs.trim())} there`,
  ],
  [/^unable to resolve (\S+?),? initiate aborted/, 'name', ([, name]) => `name not resolved: ${name}`],
  [
    /^(?:giving up after \d+ retransmits|establishing IKE_SA failed, peer not responding|peer not responding)/,
    'no answer',
    () => 'no answer from the peer',
  ],
  [
    /^(?:sending )?retransmit (\d+) of request (?:with )?message ID (\d+)/,
    'no answer',
    ([, times, message]) => {
      if (Number(times) < SILENT_AFTER) return ''
      return message === '0'
        ? 'no answer from the peer'
        : 'no answer from the peer since the first message: does UDP port 4500 reach it?'
    },
  ],
  [
    /^received (INTERNAL_ADDRESS_FAILURE|FAILED_CP_REQUIRED|SINGLE_PAIR_REQUIRED) notify/,
    'selectors',
    ([, what]) => `the remote end refused: ${what}`,
  ],
]

/** What a line means; undefined for one that tells of no problem. */
export function wordsOf(line: string, exchange: Exchange): Words | undefined {
  for (const [pattern, kind, say] of WORDINGS) {
    const match = pattern.exec(line)
    if (match === null) continue
    const text = say(match, exchange)
    return text === '' ? undefined : { kind, text: text.slice(0, MAX_TEXT) }
  }
  return undefined
}

const MAX_TEXT = 400
const MAX_PART = 120
const short = (text: string): string => (text.length > MAX_PART ? `${text.slice(0, MAX_PART)}…` : text)
