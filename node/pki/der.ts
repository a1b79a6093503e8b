// ASN.1 values by node-forge, with bytes for its binary strings. DER as of ITU-T X.690.
import forge from 'node-forge'

const { asn1 } = forge
const { Class, Type } = asn1

/** A value of ASN.1. */
export type Der = forge.asn1.Asn1

export const sequence = (...parts: Der[]): Der => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts)

/** The order of the parts is the caller's: DER wants them sorted, which matters for two and more. */
export const set = (...parts: Der[]): Der => asn1.create(Class.UNIVERSAL, Type.SET, true, parts)

export const oid = (dotted: string): Der => primitive(Type.OID, asn1.oidToDer(dotted).getBytes())

export const octets = (bytes: Uint8Array): Der => primitive(Type.OCTETSTRING, binary(bytes))

export const utf8 = (text: string): Der => primitive(Type.UTF8, binary(Buffer.from(text, 'utf8')))

/** UTF-16 (PKCS#12's friendly names); node-forge makes the bytes of it. */
export const bmp = (text: string): Der => primitive(Type.BMPSTRING, text)

export const nothing = (): Der => primitive(Type.NULL, '')

/** Only `true` is ever written: DER leaves out a `false` that is the default. */
export const yes = (): Der => primitive(Type.BOOLEAN, '\xff')

/** A small integer, as of versions, path lengths and iteration counts. */
export const integer = (value: number): Der => primitive(Type.INTEGER, asn1.integerToDer(value).getBytes())

/** A positive integer of any size; the highest bit of `bytes` is no sign. */
export function unsigned(bytes: Uint8Array): Der {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const magnitude = binary(bytes.subarray(start))
  return primitive(Type.INTEGER, bytes[start] >= 0x80 ? `\0${magnitude}` : magnitude)
}

/** @param unusedBits of the last byte */
export const bits = (bytes: Uint8Array, unusedBits = 0): Der =>
  primitive(Type.BITSTRING, String.fromCharCode(unusedBits) + binary(bytes))

/** `[number] IMPLICIT` around bytes. */
export const tagged = (number: number, bytes: Uint8Array): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, false, binary(bytes))

/** `[number] EXPLICIT`, or `IMPLICIT` over the parts of a constructed value. */
export const wrapped = (number: number, ...parts: Der[]): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, true, parts)

/** UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5). */
export function time(at: Date): Der {
  return at.getUTCFullYear() < 2050
    ? primitive(Type.UTCTIME, asn1.dateToUtcTime(at))
    : primitive(Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(at))
}

export function encode(value: Der): Buffer<ArrayBuffer> {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1')
}

/** node-forge's options that its type declarations lack: a bit string stays bytes, even if it looks like ASN.1. */
const AS_WRITTEN = { decodeBitStrings: false } as unknown as boolean

/** @throws Error when the bytes are no DER */
export function decode(bytes: Uint8Array): Der {
  return asn1.fromDer(binary(bytes), AS_WRITTEN)
}

/** The parts of a constructed value. @throws TypeError when it is a primitive one */
export function partsOf(value: Der): Der[] {
  if (typeof value.value === 'string') throw new TypeError('not a constructed ASN.1 value')
  return value.value
}

/** The content bytes of a primitive value. @throws TypeError when it is a constructed one */
export function bytesOf(value: Der): Buffer<ArrayBuffer> {
  if (typeof value.value !== 'string') throw new TypeError('not a primitive ASN.1 value')
  return Buffer.from(value.value, 'latin1')
}

/** node-forge's binary string: one character a byte. */
const binary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

function primitive(type: forge.asn1.Type, value: string): Der {
  return asn1.create(Class.UNIVERSAL, type, false, value)
}
