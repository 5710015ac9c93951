import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { parseCertification, parseQuote } from './attest.ts';
import { parsePublicArea, parseSizedPublicArea } from './public-area.ts';
import { parseSignature } from './signature.ts';
import { readStructure, requireLength, unsupported } from './structure.ts';

/** Each parser of zeros, its structure, the most bytes that it looks at, and what it says of them. */
const PARSERS: readonly (readonly [(bytes: Uint8Array) => unknown, string, number, string])[] = [
  [parseQuote, 'TPMS_ATTEST', 1024, 'tpm.quote.type'],
  [parseCertification, 'TPMS_ATTEST', 1024, 'tpm.quote.type'],
  [parseSignature, 'TPMT_SIGNATURE', 1024, 'tpm.unsupported'],
  [parsePublicArea, 'TPMT_PUBLIC', 1024, 'tpm.unsupported'],
];

for (const [parse, structure, bound, code] of PARSERS) {
  test(`${parse.name} looks at up to ${bound} bytes, and names its structure where there are more`, () => {
    assert.throws(() => parse(new Uint8Array(bound)), { code });
    assert.throws(() => parse(new Uint8Array(bound + 1)), { code: 'tpm.malformed', details: { structure } });
  });
}

test('a sized public area has two bytes more', () => {
  const sized = new Uint8Array(1026);
  sized.set([4, 0]);
  assert.throws(() => parseSizedPublicArea(sized), { code: 'tpm.unsupported' });
  const details = { structure: 'TPM2B_PUBLIC' };
  assert.throws(() => parseSizedPublicArea(new Uint8Array(1027)), { code: 'tpm.malformed', details });
});

test('a structure is read to its last byte; what another fault throws is thrown on', () => {
  assert.equal(
    readStructure(Uint8Array.of(1, 2), 'x', 2, (reader) => reader.u16()),
    0x0102,
  );
  const read = (length: number) => readStructure(new Uint8Array(length), 'x', 3, (reader) => reader.u16());
  for (const length of [1, 3, 4]) assert.throws(() => read(length), { code: 'tpm.malformed' });
  assert.throws(
    () => readStructure(Uint8Array.of(0, 9), 'x', 2, (reader) => reader.sized16(8)),
    (error) => isLacreError(error, 'tpm.malformed') && isLacreError(error.cause, 'bytes.oversized'),
  );
  const fault = new RangeError('other');
  const failing = () => {
    throw fault;
  };
  assert.throws(() => readStructure(new Uint8Array(), 'x', 0, failing), fault);
});

test('an error tells what is not accepted, and which argument has another length', () => {
  const { code, message, details } = unsupported('TPMT_PUBLIC', 'hash', 0x12);
  assert.deepEqual([code, details], ['tpm.unsupported', { structure: 'TPMT_PUBLIC', kind: 'hash', value: 0x12 }]);
  assert.match(message, /0x12 /);
  const bytes = new Uint8Array(32);
  assert.equal(requireLength('a leaf', bytes, 32), bytes);
  const wrong = { code: 'tpm.argument', details: { name: 'a leaf', length: 32 } };
  for (const length of [31, 33]) assert.throws(() => requireLength('a leaf', bytes, length), wrong);
});
