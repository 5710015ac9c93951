import { createHash } from 'node:crypto';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { equalBytes } from '../bytes/equal.ts';
import { LacreError } from '../lacre-error.ts';
import { HANDLE, HASH_ID } from './constants.ts';
import { objectName, type PublicArea } from './public-area.ts';
import type { VerifiedQuote } from './quote.ts';

/**
 * Whether a quote's qualified signer (Part 1, 26.5) is `ak` as a primary key of the endorsement hierarchy, or as a child
 * of `ek`, itself a primary key there: the hierarchies that an owner of the machine cannot replace without replacing the
 * EK. The name is signed by the TPM, so after verifyQuote and credential activation this is proven.
 */
export function isEndorsementChild(qualifiedSigner: Uint8Array, ek: PublicArea, ak: PublicArea): boolean {
  const hierarchy = new ByteWriter().u32(HANDLE.ENDORSEMENT).finish();
  return [hierarchy, qualify(hierarchy, ek)].some((parent) => equalBytes(qualify(parent, ak), qualifiedSigner));
}

/**
 * Holds a quote's signer to the endorsement hierarchy (DESIGN section 8, enrolment). Throws tpm.ak.hierarchy.
 *
 * @param ek area of a VerifiedEndorsement; `ak` that of the key which the quote was verified with
 */
export function requireEndorsementChild(quote: VerifiedQuote, ek: PublicArea, ak: PublicArea): void {
  if (isEndorsementChild(quote.qualifiedSigner, ek, ak)) return;
  throw new LacreError(
    'tpm.ak.hierarchy',
    'the attestation key lives neither in the endorsement hierarchy itself nor below the EK',
    { akName: quote.keyNameHex },
  );
}

/** Qualified Name of an object below `parent`: nameAlg and digest over the parent's qualified Name and its own Name. */
function qualify(parent: Uint8Array, area: PublicArea): Uint8Array {
  const digest = createHash(area.nameAlg).update(parent).update(objectName(area)).digest();
  return new ByteWriter().u16(HASH_ID[area.nameAlg]).bytes(digest).finish();
}
