import { MeasuredFile, placeOf } from '../../src/ima/measured-file.ts';

/** A place that some file has, with these last ten bits. */
export function placeWith(lastBits: number): number {
  for (let number = 0; ; number++) {
    const { place } = MeasuredFile.ofSha256(`/crowd/${number}`, '00'.repeat(32));
    if ((place & 1023) === lastBits) return place;
  }
}

/** Different files that a search looks for at one and the same place: what somebody who wants to slow it down would make. */
export function* crowdedFiles(
  wanted: number = MeasuredFile.ofSha256('/crowd/0', '00'.repeat(32)).place,
): Generator<{ readonly path: string; readonly sha256: Uint8Array }, never> {
  for (let number = 0; ; number++) {
    const path = `/crowd/${number}`;
    const sha256 = digestAt(path, wanted);
    if (sha256 !== undefined) yield { path, sha256 };
  }
}

/** The digest with which a path has a place; undefined: none has. A place is (name ^ digest) × constant, without its last bit. */
function digestAt(path: string, wanted: number): Uint8Array | undefined {
  const name = Buffer.from(path);
  const digest = new Uint8Array(32);
  const inverse = inverseOf(0x9e3779b1);
  for (const bit of [0, 1]) {
    const word = Math.imul((wanted << 1) | bit, inverse) ^ nameWord(name);
    if (word >>> 24 !== 0) continue;
    digest.set([word & 255, (word >>> 8) & 255, (word >>> 16) & 255]);
    if (placeOf(name, 0, name.length, digest, 0) === wanted) return digest;
  }
  return undefined;
}

function nameWord(name: Uint8Array): number {
  // With a digest of zeros a place is the name's number × constant, but for the last bit.
  const place = placeOf(name, 0, name.length, new Uint8Array(32), 0);
  const inverse = inverseOf(0x9e3779b1);
  const [even, odd] = [Math.imul(place << 1, inverse), Math.imul((place << 1) | 1, inverse)];
  return even >>> 31 === 0 ? even : odd;
}

/** Modulo 2^32, of an odd number (Newton). */
function inverseOf(odd: number): number {
  let inverse = odd;
  for (let i = 0; i < 5; i++) inverse = Math.imul(inverse, 2 - Math.imul(odd, inverse));
  return inverse;
}
