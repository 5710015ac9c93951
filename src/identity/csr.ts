import { type KeyObject, verify } from 'node:crypto';
import { LacreError } from '../lacre-error.ts';
import { DerReader, oidText, TAG } from './der.ts';
import { parsePublicKey } from './public-key.ts';

const MAX_BYTES = 16 * 1024;
/** Signature algorithms and their digest: ECDSA (RFC 5758), RSA PKCS #1 v1.5 (RFC 4055). */
const DIGESTS: ReadonlyMap<string, string> = new Map([
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
]);

/** A certificate request whose own signature holds: whoever made it had the private key. Made by parseCsr only. */
export class VerifiedCsr {
  readonly #brand = true;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  readonly key: KeyObject;

  /** @internal only parseCsr calls it: the token is private to this module. */
  constructor(token: symbol, publicKey: Uint8Array, key: KeyObject) {
    if (token !== TOKEN) throw new LacreError('identity.csr.invalid', 'only parseCsr makes a VerifiedCsr');
    this.publicKey = publicKey;
    this.key = key;
  }

  static is(value: unknown): value is VerifiedCsr {
    return typeof value === 'object' && value !== null && #brand in value;
  }
}

const TOKEN = Symbol('VerifiedCsr');

/**
 * Reads a PKCS #10 request (RFC 2986) and checks its signature and its key's kind. Of its contents only the key is
 * used: subject and attributes are the asker's wishes, and no wish is granted.
 * Codes: identity.der.malformed, identity.key.malformed, identity.key.refused, identity.csr.invalid.
 */
export function parseCsr(bytes: Uint8Array): VerifiedCsr {
  if (bytes.length > MAX_BYTES) throw invalid(`a certificate request has at most ${MAX_BYTES} bytes`);
  const outer = new DerReader(bytes, 'the certificate request');
  const request = outer.enter(TAG.sequence);
  outer.end();
  const signed = request.readWhole(TAG.sequence);
  const algorithm = oidText(request.enter(TAG.sequence).read(TAG.oid));
  const signature = request.read(TAG.bitString);
  request.end();
  const publicKey = requestKey(signed);
  const key = parsePublicKey(publicKey);
  const digest = DIGESTS.get(algorithm);
  const fits = digest !== undefined && algorithm.startsWith('1.2.840.10045') === (key.asymmetricKeyType === 'ec');
  if (!fits || signature[0] !== 0) throw invalid('the certificate request is signed in a way that is not accepted');
  if (!verify(digest, signed, key, signature.subarray(1)))
    throw invalid("the certificate request's signature is not by its own key");
  return new VerifiedCsr(TOKEN, publicKey, key);
}

/** CertificationRequestInfo: version 0, subject, key, attributes. */
function requestKey(signed: Uint8Array): Uint8Array {
  const info = new DerReader(signed, 'the certificate request').enter(TAG.sequence);
  const version = info.read(TAG.integer);
  if (version.length !== 1 || version[0] !== 0) throw invalid('the certificate request has an unknown version');
  info.read(TAG.sequence);
  const publicKey = info.readWhole(TAG.sequence);
  info.readOptional(0xa0);
  info.end();
  return new Uint8Array(publicKey);
}

function invalid(sentence: string): LacreError {
  return new LacreError('identity.csr.invalid', sentence);
}
