import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forgeAttest } from '../../test/simulator/soft-key.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { isLacreError } from '../lacre-error.ts';
import { parseCertification, parseQuote } from './attest.ts';
import { ALG, GENERATED, TAG } from './constants.ts';

const some = (length: number, byte: number) => new Uint8Array(length).fill(byte);

/** A TPMS_ATTEST that is a certification, of fields as long as they may be unless it is said otherwise. */
function certification({
  tag = TAG.ATTEST_CERTIFY as number,
  signer = 66,
  extraData = 64,
  name = 66,
  qualified = 66,
} = {}) {
  const writer = new ByteWriter().u32(GENERATED).u16(tag).sized16(some(signer, 1)).sized16(some(extraData, 2));
  writer.u64(3n).u32(4).u32(5).u8(0).u64(6n);
  return writer.sized16(some(name, 7)).sized16(some(qualified, 8)).finish();
}

const clock = { clock: 3n, resetCount: 4, restartCount: 5, safe: false };
const common = { qualifiedSigner: some(66, 1), extraData: some(64, 2), clock, firmwareVersion: 6n };

test('a certification is read field by field, and stays what it was when the bytes change', () => {
  const bytes = certification();
  const parsed = parseCertification(bytes);
  bytes.fill(0xff);
  assert.deepEqual(parsed, { ...common, name: some(66, 7), qualifiedName: some(66, 8) });
});

test('a quote is read field by field: each bank, each bit of its bitmap', () => {
  const head = certification({ tag: TAG.ATTEST_QUOTE, name: 0, qualified: 0 }).subarray(0, -4);
  const selection = new ByteWriter()
    .u32(3)
    .u16(ALG.SHA256)
    .u8(4)
    .bytes(Uint8Array.of(0x81, 0, 0x10, 0x80));
  selection.u16(ALG.SHA384).u8(1).u8(0x7e).u16(ALG.SHA1).u8(0).sized16(some(64, 9));
  const bytes = new Uint8Array([...head, ...selection.finish()]);
  const parsed = parseQuote(bytes);
  bytes.fill(0xff);
  const banks = [
    { hash: ALG.SHA256, pcrs: [0, 7, 20, 31] },
    { hash: ALG.SHA384, pcrs: [1, 2, 3, 4, 5, 6] },
    { hash: ALG.SHA1, pcrs: [] },
  ];
  assert.deepEqual(parsed, { ...common, quote: { selection: banks, pcrDigest: some(64, 9) } });
});

const isRead = (parse: (bytes: Uint8Array) => unknown, bytes: Uint8Array) => {
  try {
    parse(bytes);
    return true;
  } catch (error) {
    if (isLacreError(error, 'tpm.malformed')) return false;
    throw error;
  }
};

test('names have 66 bytes, digests 64, selections 16 banks of 4 bytes: one more is malformed', () => {
  for (const [field, bound] of [
    ['signer', 66],
    ['extraData', 64],
    ['name', 66],
    ['qualified', 66],
  ] as const) {
    assert.ok(isRead(parseCertification, certification({ [field]: bound })), field);
    assert.ok(!isRead(parseCertification, certification({ [field]: bound + 1 })), field);
  }
  const quote = (banks: number, bitmap: number, digest: number) =>
    forgeAttest({
      extraData: some(32, 0),
      pcrDigest: some(digest, 0),
      banks: Array.from({ length: banks }, () => ({ hash: ALG.SHA256, bitmap: some(bitmap, 255) })),
    });
  assert.ok(isRead(parseQuote, quote(16, 4, 64)));
  for (const [banks, bitmap, digest] of [
    [17, 4, 64],
    [16, 5, 64],
    [16, 4, 65],
  ] as const)
    assert.ok(!isRead(parseQuote, quote(banks, bitmap, digest)), `${banks}, ${bitmap}, ${digest}`);
});

test('a clock is safe or not: anything else is malformed, and the error names the structure', () => {
  const quote = (safe: number) => forgeAttest({ extraData: some(32, 0), pcrDigest: some(32, 0), safe });
  assert.deepEqual(
    [0, 1].map((safe) => parseQuote(quote(safe)).clock.safe),
    [false, true],
  );
  for (const safe of [2, 255])
    assert.throws(() => parseQuote(quote(safe)), { code: 'tpm.malformed', details: { structure: 'TPMS_ATTEST' } });
});

test('what no TPM made, and what it made of another kind, is no quote and no certification', () => {
  const forged = { extraData: some(32, 0), pcrDigest: some(32, 0) };
  assert.throws(() => parseQuote(forgeAttest({ ...forged, magic: GENERATED - 1 })), { code: 'tpm.quote.type' });
  assert.throws(() => parseQuote(certification()), { code: 'tpm.quote.type' });
  assert.throws(() => parseCertification(forgeAttest(forged)), { code: 'tpm.quote.type' });
  assert.equal(GENERATED, 0xff544347);
  assert.deepEqual([TAG.ATTEST_CERTIFY, TAG.ATTEST_QUOTE], [0x8017, 0x8018]);
});
