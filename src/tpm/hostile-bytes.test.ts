import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex } from '../bytes/hex.ts';
import { isLacreError } from '../lacre-error.ts';
import { parseQuote } from './attest.ts';
import { certificateSpki, parseEndorsementCertificate } from './certificate.ts';
import { splitDer, trimDer } from './der-sequence.ts';
import { parsePublicArea, parseSizedPublicArea } from './public-area.ts';
import { parseSignature } from './signature.ts';

const folder = new URL('../../vectors/tpm/', import.meta.url);

/** Every byte string in the vectors, to be changed. */
function seeds(): Uint8Array[] {
  const all = ['quote', 'endorsement', 'public-area'].flatMap((kind) =>
    readdirSync(new URL(`${kind}/`, folder)).flatMap((file) => {
      const vector: object = JSON.parse(readFileSync(new URL(`${kind}/${file}`, folder), 'utf8'));
      return Object.values(vector).flat();
    }),
  );
  const hex = all.filter((value): value is string => typeof value === 'string' && /^([0-9a-f]{2}){3,}$/.test(value));
  return [...new Set(hex)].map((text) => fromHex(text));
}

const PARSERS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  parseQuote,
  parseSignature,
  parsePublicArea,
  parseSizedPublicArea,
  parseEndorsementCertificate,
  certificateSpki,
  trimDer,
  splitDer,
};

/** A seed with some bytes replaced, cut, or doubled. */
const changed = fc
  .tuple(
    fc.constantFrom(...seeds()),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.nat(),
    fc.boolean(),
  )
  .map(([seed, edits, cut, isCut]) => {
    const bytes = seed.slice(0, isCut ? cut % (seed.length + 1) : seed.length);
    for (const [at, value] of edits) if (bytes.length > 0) bytes[at % bytes.length] = value;
    return bytes;
  });

for (const [name, parse] of Object.entries(PARSERS)) {
  test(`${name}: whatever bytes come, it returns or throws an error of this link`, () => {
    const check = (bytes: Uint8Array) => {
      try {
        parse(bytes);
      } catch (error) {
        assert.ok(isLacreError(error) && error.link === 'tpm', String(error));
      }
    };
    fc.assert(fc.property(changed, check), { numRuns: 1_000 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), check), { numRuns: 500 });
  });
}
