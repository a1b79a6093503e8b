// What is offered and accepted where an attachment names no proposals, in strongSwan's notation
// (https://docs.strongswan.org/docs/latest/config/proposals.html): AEAD and elliptic curves first, AES-CBC with SHA-2 and MODP for
// older devices. With a group, a rekeyed child SA has keys of its own (perfect forward secrecy).

const GROUPS = 'x25519-ecp256-ecp384-modp3072-modp2048'

const IKE2 = [
  `aes256gcm16-aes128gcm16-prfsha384-prfsha256-${GROUPS}`,
  `aes256-aes128-sha384-sha256-prfsha384-prfsha256-${GROUPS}`,
]
const AEAD = 'aes256gcm16-aes128gcm16'
const CBC = 'aes256-aes128-sha384-sha256'
/** The last two are for devices without groups, which nobody would know of before the first rekeying failed. */
const ESP2 = [`${AEAD}-${GROUPS}`, `${CBC}-${GROUPS}`, AEAD, CBC]

/** IKEv1 has no AEAD for itself, and takes one algorithm of a kind in a proposal. */
const IKE1 = ['aes256-sha256-ecp256', 'aes256-sha256-modp2048', 'aes128-sha256-modp2048']
/** One group in all of them: an initiator of IKEv1 cannot offer several. */
const ESP1 = ['aes256gcm16-modp2048', 'aes256-sha256-modp2048', 'aes128-sha256-modp2048']

export const defaultIkeProposals = (version: 1 | 2): readonly string[] => (version === 2 ? IKE2 : IKE1)
export const defaultEspProposals = (version: 1 | 2): readonly string[] => (version === 2 ? ESP2 : ESP1)
