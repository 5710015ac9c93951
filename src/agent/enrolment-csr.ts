import { generateKeyPairSync, sign } from 'node:crypto';
import { der, derBitString, derInteger, derOid, derSequence } from '../identity/der.ts';

/** A fresh TLS key of the agent, and the request for its certificate. */
export interface KeyAndRequest {
  readonly privateKeyPem: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** PKCS #10, DER. */
  readonly csr: Uint8Array;
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const ATTRIBUTES = 0xa0;

/**
 * Makes a P-256 key in memory and a PKCS #10 request for it (RFC 2986), without a subject: the server gives the name.
 * The signature proves that whoever sends it has the key.
 */
export function createKeyAndRequest(): KeyAndRequest {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const info = derSequence(derInteger(Uint8Array.of(0)), derSequence(), spki, der(ATTRIBUTES));
  const signature = new Uint8Array(sign('sha256', info, privateKey));
  return {
    privateKeyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    publicKey: spki,
    csr: derSequence(info, derSequence(derOid(ECDSA_WITH_SHA256)), derBitString(signature)),
  };
}
