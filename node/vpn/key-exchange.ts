// What both ends compute once key method 2 has run: the key block, split by direction.

import { splitKeyBlock } from './data-keys.ts'
import type { DataChannelKeys } from './data-plane.ts'
import { deriveKeyBlockPrf, KEY_BLOCK_LENGTH, type PrfInput } from './prf.ts'
import type { TlsChannel } from './tls.ts'

const DATA_KEYS_LABEL = 'EXPORTER-OpenVPN-datakeys'
const DYNAMIC_TLS_CRYPT_LABEL = 'EXPORTER-OpenVPN-dynamic-tls-crypt'

/** `tls-ekm`: RFC 5705 export from TLS; `prf`: the older PRF over both sides' random bytes. */
export type KeyDerivation = 'tls-ekm' | 'prf'

export function deriveKeys(
  role: 'server' | 'client',
  derivation: KeyDerivation,
  tls: TlsChannel,
  random: PrfInput,
): Pick<DataChannelKeys, 'send' | 'receive'> {
  const block =
    derivation === 'tls-ekm' ? tls.exportKey(KEY_BLOCK_LENGTH, DATA_KEYS_LABEL) : deriveKeyBlockPrf(random)
  const keys = splitKeyBlock(block, role)
  block.fill(0)
  return keys
}

/** Exported from the first TLS session, for the wrapping of all later key ids. */
export function exportDynamicTlsCrypt(tls: TlsChannel): Uint8Array {
  return tls.exportKey(KEY_BLOCK_LENGTH, DYNAMIC_TLS_CRYPT_LABEL)
}
