import { createDecipheriv, createHmac, createPublicKey, diffieHellman, generateKeyPairSync } from 'node:crypto';
import { KeyUsageFlags } from '@peculiar/asn1-x509';
import { ByteReader } from '../../src/bytes/byte-reader.ts';
import { ByteWriter } from '../../src/bytes/byte-writer.ts';
import { equalBytes } from '../../src/bytes/equal.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { ALG, HANDLE, HASH_ID } from '../../src/tpm/constants.ts';
import { kdfa, kdfe } from '../../src/tpm/key-derivation.ts';
import { objectName, parsePublicArea } from '../../src/tpm/public-area.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { issueCertificate, type Party } from './soft-certificate.ts';
import { AK_ATTRIBUTES, EK_ATTRIBUTES, forgeAttest, forgePublicArea, softSignature } from './soft-key.ts';

const EK_CERTIFICATE = '2.23.133.8.1';
const NOTHING = new Uint8Array();

/**
 * What one machine of a fleet needs of a TPM, in native crypto and without a process of its own: an EK on P-256 whose
 * certificate `root` signed, an AK beside it, credential activation, quotes. Its PCRs are those that it is told.
 */
export class SoftTpm {
  readonly ekPublic: Uint8Array;
  readonly ekCertificate: Uint8Array;
  readonly akPublic: Uint8Array;
  readonly akName: Uint8Array;
  readonly #ek = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #ak = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #signer: Uint8Array;

  constructor(root: Party) {
    this.ekPublic = forgePublicArea(this.#ek.publicKey, { attributes: EK_ATTRIBUTES, cipherBits: 128 });
    this.ekCertificate = issueCertificate('EK', root, {
      isCa: false,
      usage: KeyUsageFlags.keyAgreement,
      extendedUsage: [EK_CERTIFICATE],
      publicKey: this.#ek.publicKey,
    }).certificate;
    const scheme = { algorithm: ALG.ECDSA, hash: 'sha256' } as const;
    this.akPublic = forgePublicArea(this.#ak.publicKey, { attributes: AK_ATTRIBUTES, scheme });
    this.akName = objectName(parsePublicArea(this.akPublic));
    // Part 1, 26.5: a primary key of the endorsement hierarchy.
    const parent = new ByteWriter().u32(HANDLE.ENDORSEMENT).finish();
    this.#signer = new ByteWriter().u16(HASH_ID.sha256).bytes(sha256(parent, this.akName)).finish();
  }

  /** TPM2_ActivateCredential (Part 1, 24 and C.6.4): the secret, for the AK's Name alone. */
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Uint8Array {
    const idObject = new ByteReader(new ByteReader(credentialBlob, 'TPM2B_ID_OBJECT').sized16(128), 'TPMS_ID_OBJECT');
    const mac = idObject.sized16(64);
    const identity = idObject.bytes(idObject.remaining);
    const point = new ByteReader(new ByteReader(encryptedSecret, 'secret').sized16(256), 'TPMS_ECC_POINT');
    const [x, y] = [point.sized16(32), point.sized16(32)];
    const jwk = { kty: 'EC', crv: 'P-256', x: base64url(x), y: base64url(y) };
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    const z = new Uint8Array(diffieHellman({ privateKey: this.#ek.privateKey, publicKey }));
    const ownX = new Uint8Array(Buffer.from(this.#ek.publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'));
    const seed = kdfe('sha256', z, 'IDENTITY', x, ownX, 256);
    const macKey = kdfa('sha256', seed, 'INTEGRITY', NOTHING, NOTHING, 256);
    const expected = createHmac('sha256', macKey).update(identity).update(this.akName).digest();
    if (!equalBytes(new Uint8Array(expected), mac)) throw new Error('the credential is for another key');
    const key = kdfa('sha256', seed, 'STORAGE', this.akName, NOTHING, 128);
    const plain = createDecipheriv('aes-128-cfb', key, new Uint8Array(16)).update(identity);
    return new ByteReader(new Uint8Array(plain), 'secret').sized16(32);
  }

  /** TPM2_Quote by the AK over QUOTED_PCRS with these values, 32 bytes each. */
  quote(
    extraData: Uint8Array,
    pcrs: ReadonlyMap<number, Uint8Array>,
  ): { readonly attest: Uint8Array; readonly signature: Uint8Array } {
    const pcrDigest = sha256(...QUOTED_PCRS.map((pcr) => pcrs.get(pcr) ?? new Uint8Array(32)));
    const clock = BigInt(Math.round(performance.now()));
    const attest = forgeAttest({ extraData, pcrDigest, signer: this.#signer, clock });
    return { attest, signature: softSignature(this.#ak.privateKey, ALG.ECDSA, 'sha256', attest) };
  }
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
