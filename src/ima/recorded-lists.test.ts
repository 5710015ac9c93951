import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEventLog } from '../boot/event-log.ts';
import { replayEventLog } from '../boot/replayed-boot.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { verifyAttestationKey } from '../tpm/attestation-key.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { type VerifiedQuote, verifyQuote } from '../tpm/quote.ts';
import { Frame } from './frame.ts';
import { ListReplay } from './list-replay.ts';
import { checkBufferDigest } from './template.ts';

const samples = fileURLToPath(new URL('../../../shared/samples', import.meta.url));
const skip = existsSync(samples) ? false : 'the recordings are not here (shared/samples)';
const quotes = new URL('../../vectors/tpm/quote/', import.meta.url);

/** Folder of a recording → its quote among our vectors (other selections than the product's), and codes it is refused with. */
const recordings: readonly (readonly [folder: string, quote: string, refused?: string])[] = [
  ['sealed/good', 'sealed-good'],
  ['podman/good', 'podman-good'],
  ['podman/tampered', 'podman-tampered'],
  ['podman/good-trixie', 'podman-good-trixie'],
  ['podman/tampered-trixie', 'podman-tampered-trixie'],
  ['read/good', 'read-good', 'ima.entry.pcr'],
  ['read/good/k6.12', 'read-good-k6.12', 'ima.entry.pcr'],
  ['read/tampered', 'read-tampered', 'ima.entry.pcr'],
  ['read/tampered/k6.12', 'read-tampered-k6.12', 'ima.entry.pcr'],
  ['guest/fix-ima-ng-good', 'guest-ima-ng-good'],
  ['guest/fix-ima-ng-tampered', 'guest-ima-ng-tampered'],
  ['guest/fix-ima-ngv2-good', 'guest-ima-ngv2-good'],
  ['guest/fix-ima-ngv2-tampered', 'guest-ima-ngv2-tampered'],
  ['guest/fix-ima-sig-good', 'guest-ima-sig-good'],
  ['guest/fix-ima-sig-tampered', 'guest-ima-sig-tampered'],
  ['guest/fix-iuid-good', 'guest-iuid-good', 'ima.entry.template'],
  ['guest/fix-iuid-tampered', 'guest-iuid-tampered', 'ima.entry.template'],
  ['guest/fix-k73-iuid-good', 'guest-k73-iuid-good', 'ima.entry.template'],
  ['guest/fix-uidpcr-good', 'guest-uidpcr-good', 'ima.entry.template'],
  ['guest/fix-uidpcr-tampered', 'guest-uidpcr-tampered', 'ima.entry.template'],
  ['guest/scenario-s61-exec-ng', 'guest-s61-exec-ng-ecc'],
  ['guest/scenario-s61-fmt', 'guest-s61-fmt-ecc', 'ima.entry.template'],
  ['guest/scenario-s61-ngv2', 'guest-s61-ngv2-ecc'],
  ['guest/scenario-s61-pcr11', 'guest-s61-pcr11-ecc', 'ima.entry.pcr'],
  ['guest/scenario-s61-tcb', 'guest-s61-tcb-ecc'],
  ['guest/scenario-s61-uidpcr', 'guest-s61-uidpcr-ecc', 'ima.entry.pcr'],
  ['guest/scenario-s612-exec', 'guest-s612-exec-ecc'],
  ['guest/scenario-s612-tcb', 'guest-s612-tcb-ecc'],
  ['guest/scenario-s73-exec', 'guest-s73-exec-ecc'],
  ['guest/scenario-s73-tcb', 'guest-s73-tcb-ecc'],
];

function quoteOf(name: string): VerifiedQuote {
  const vector = JSON.parse(readFileSync(new URL(`${name}.json`, quotes), 'utf8'));
  return verifyQuote({
    attest: fromHex(vector.attestHex),
    signature: fromHex(vector.signatureHex),
    key: verifyAttestationKey(parsePublicArea(fromHex(vector.akPublicHex))),
    extraData: fromHex(vector.extraDataHex),
    pcrs: vector.pcrs,
  });
}

/** Replays any list, of any PCRs and templates, from a boot's values: the prefixes that explain a quote. */
function explainingPrefixes(list: Buffer, boot: Map<number, Uint8Array>, quote: VerifiedQuote): number[] {
  const values = new Map(boot);
  const found: number[] = quote.explains(values) ? [0] : [];
  const frame = new Frame();
  for (let offset = 0, count = 1; offset < list.length; count++, offset = frame.end) {
    assert.equal(frame.read(list, offset, 0), 0, 'a recorded list ends with a whole entry');
    const before = values.get(frame.pcr) ?? ZERO_SHA256;
    values.set(frame.pcr, sha256(before, Buffer.from(frame.digest(list, 'sha256'), 'latin1')));
    if (quote.explains(values)) found.push(count);
  }
  return found;
}

for (const [folder, quoteName, refused] of recordings) {
  test(`${folder}: one prefix explains the quote${refused === undefined ? '' : `; refused as a node's (${refused})`}`, {
    skip,
  }, () => {
    const list = readFileSync(`${samples}/${folder}/binary_runtime_measurements`);
    const boot = replayEventLog(parseEventLog(readFileSync(`${samples}/${folder}/binary_bios_measurements`)));
    const start = boot.pcrs(Array.from({ length: 16 }, (_, pcr) => pcr));
    assert.equal(explainingPrefixes(list, start, quoteOf(quoteName)).length, 1);
    const replay = new ListReplay({ pcr10: boot.pcr(10), pcr13: boot.pcr(13), pcr14: boot.pcr(14) });
    if (refused === undefined) assert.ok(replay.append(list).length > 0);
    else
      assert.throws(
        () => replay.append(list),
        (error) => error instanceof LacreError && error.code === refused,
      );
  });
}

test('a list with one entry dropped, or one byte changed, explains its quote no more', { skip }, () => {
  const list = readFileSync(`${samples}/read/good/binary_runtime_measurements`);
  const boot = replayEventLog(parseEventLog(readFileSync(`${samples}/read/good/binary_bios_measurements`)));
  const start = boot.pcrs(Array.from({ length: 16 }, (_, pcr) => pcr));
  const frame = new Frame();
  frame.read(list, 0, 0);
  assert.deepEqual(explainingPrefixes(list.subarray(frame.end), start, quoteOf('read-good')), []);
  const changed = Buffer.from(list);
  changed[frame.end - 2] = (changed[frame.end - 2] ?? 0) ^ 1;
  assert.deepEqual(explainingPrefixes(changed, start, quoteOf('read-good')), []);
});

test('lists of three kernels replay to the PCR 10 that was read', { skip }, () => {
  const paths = globSync(`${samples}/ima/*/pcrs.json`);
  assert.ok(paths.length >= 8);
  for (const path of paths) {
    const { sha256: bank } = JSON.parse(readFileSync(path, 'utf8'));
    const replay = new ListReplay({ pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 });
    const count = replay.append(readFileSync(path.replace('pcrs.json', 'binary_runtime_measurements'))).length;
    const prefixes = Array.from({ length: count + 1 }, (_, index) => toHex(replay.pcrsAt(index)?.pcr10 ?? ZERO_SHA256));
    assert.ok(prefixes.includes(bank['10']), path);
  }
});

test("a real kernel's buffers have the digest of what they show", { skip }, () => {
  let buffers = 0;
  for (const folder of ['guest/fix-k73-iuid-good', 'guest/scenario-x73']) {
    const list = readFileSync(`${samples}/${folder}/binary_runtime_measurements`);
    const frame = new Frame();
    for (let offset = 0; offset < list.length; offset = frame.end) {
      frame.read(list, offset, 0);
      if (frame.templateName !== 'ima-buf') continue;
      const digestEnd = frame.dataStart + 4 + list.readUInt32LE(frame.dataStart);
      const contentStart = digestEnd + 4 + list.readUInt32LE(digestEnd) + 4;
      const digest = { algorithm: 'sha256', hex: list.toString('hex', digestEnd - 32, digestEnd) } as const;
      checkBufferDigest(list.subarray(contentStart, frame.end), digest, offset);
      buffers += 1;
    }
  }
  assert.ok(buffers > 4);
});
