import { generateKeyPairSync } from 'node:crypto';
import { sha256 } from '../../src/bytes/sha256.ts';
import { verifyAttestationKey } from '../../src/tpm/attestation-key.ts';
import { ALG, DIGEST_LENGTH, HASH_ID, type PcrBank } from '../../src/tpm/constants.ts';
import { parsePublicArea } from '../../src/tpm/public-area.ts';
import { QUOTED_PCRS, type VerifiedQuote, verifyQuote } from '../../src/tpm/quote.ts';
import { AK_ATTRIBUTES, bitmapOf, forgeAttest, forgePublicArea, softSignature } from './soft-key.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const scheme = { algorithm: ALG.ECDSA, hash: 'sha256' } as const;
const key = verifyAttestationKey(parsePublicArea(forgePublicArea(publicKey, { attributes: AK_ATTRIBUTES, scheme })));
const extraData = new Uint8Array(32).fill(5);

/** A quote over these PCR values of one bank by a key in software, verified. Missing values are zero. */
export function softQuote(
  values: ReadonlyMap<number, Uint8Array>,
  pcrs: readonly number[] = QUOTED_PCRS,
  bank: PcrBank = 'sha256',
): VerifiedQuote {
  const ordered = pcrs.map((pcr) => values.get(pcr) ?? new Uint8Array(DIGEST_LENGTH[bank]));
  const banks = [{ hash: HASH_ID[bank], bitmap: bitmapOf(pcrs) }];
  const attest = forgeAttest({ extraData, pcrDigest: sha256(...ordered), banks });
  const signature = softSignature(privateKey, ALG.ECDSA, 'sha256', attest);
  return verifyQuote({ attest, signature, key, extraData, pcrs, bank });
}
