import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import {
  batchRoot,
  EXPORTER_LABEL,
  enrolmentExtraData,
  quoteExtraData,
  type SubjectKind,
  spireExporter,
  workloadLeaf,
} from './qualifying-data.ts';

const vectors = JSON.parse(readFileSync(new URL('../../vectors/tpm/batch/batches.json', import.meta.url), 'utf8'));
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'utf8'));
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const leaves = fc.uniqueArray(digest, { minLength: 1, maxLength: 70, selector: toHex });

test('leaves and roots are those of the vectors', () => {
  const made = Array.from({ length: 9 }, (_, i) =>
    workloadLeaf((1 + (i % 3)) as SubjectKind, sha256(bytes(`record ${i}`)), sha256(bytes(`subject ${i}`))),
  );
  assert.deepEqual(made.map(toHex), vectors.leavesHex);
  const roots = Array.from({ length: 10 }, (_, n) => toHex(batchRoot(made.slice(0, n))));
  assert.deepEqual(roots, vectors.rootsHex);
});

test('extra data of quotes is that of the vectors', () => {
  const { quote, enrolment } = vectors;
  const made = quoteExtraData({
    akName: fromHex(quote.akNameHex),
    exporter: fromHex(quote.exporterHex),
    nonce: fromHex(quote.nonceHex),
    root: fromHex(quote.rootHex),
    count: quote.count,
  });
  assert.equal(toHex(made), quote.extraDataHex);
  const enrol = enrolmentExtraData({
    trustDomain: enrolment.trustDomain,
    nonce: fromHex(enrolment.nonceHex),
    secret: fromHex(enrolment.secretHex),
    ekPublic: fromHex(enrolment.ekPublicHex),
    akName: fromHex(enrolment.akNameHex),
    csr: fromHex(enrolment.csrHex),
    exporter: fromHex(enrolment.exporterHex),
  });
  assert.equal(toHex(enrol), enrolment.extraDataHex);
  assert.equal(EXPORTER_LABEL, 'EXPORTER-Channel-Binding');
});

test('an empty batch has the zero root, a single leaf is its own root', () => {
  assert.deepEqual(batchRoot([]), new Uint8Array(32));
  fc.assert(fc.property(digest, (leaf) => assert.deepEqual(batchRoot([leaf]), leaf)));
});

test('another leaf, another order, one leaf more or less: another root', () => {
  fc.assert(
    fc.property(leaves, digest, fc.nat(), (all, other, at) => {
      const root = toHex(batchRoot(all));
      const index = at % all.length;
      fc.pre(all.every((leaf) => toHex(leaf) !== toHex(other)));
      assert.notEqual(toHex(batchRoot(all.with(index, other))), root);
      assert.notEqual(toHex(batchRoot([...all, other])), root);
      assert.notEqual(toHex(batchRoot(all.toSpliced(index, 1))), root);
      if (all.length > 1) assert.notEqual(toHex(batchRoot([...all.slice(1), ...all.slice(0, 1)])), root);
    }),
  );
});

test('each leaf has a path to the root of at most log2 steps', () => {
  fc.assert(
    fc.property(leaves, fc.nat(), (all, at) => {
      let index = at % all.length;
      let hash: Uint8Array = all[index] ?? ZERO_SHA256;
      let level: Uint8Array[] = all;
      let steps = 0;
      while (level.length > 1) {
        const sibling = level[index ^ 1];
        if (sibling !== undefined) {
          const pair = index % 2 === 0 ? [hash, sibling] : [sibling, hash];
          hash = sha256(Uint8Array.of(1), ...pair);
          steps += 1;
        }
        const next: Uint8Array[] = [];
        for (let i = 0; i < level.length; i += 2) {
          const pair = level.slice(i, i + 2);
          next.push(pair.length === 2 ? sha256(Uint8Array.of(1), ...pair) : (pair[0] ?? ZERO_SHA256));
        }
        level = next;
        index >>= 1;
      }
      assert.deepEqual(hash, batchRoot(all));
      assert.ok(steps <= Math.ceil(Math.log2(all.length)));
    }),
  );
});

test('two equal leaves are refused', () => {
  fc.assert(
    fc.property(leaves, fc.nat(), fc.nat(), (all, from, to) => {
      const leaf = all[from % all.length] ?? ZERO_SHA256;
      const doubled = all.toSpliced(to % (all.length + 1), 0, leaf.slice());
      assert.throws(() => batchRoot(doubled), { code: 'tpm.batch.duplicate' });
    }),
  );
});

test('a leaf tells kind, record and subject apart, and no node is a leaf', () => {
  fc.assert(
    fc.property(digest, digest, (record, subject) => {
      const made = ([1, 2, 3] as const).map((kind) => toHex(workloadLeaf(kind, record, subject)));
      assert.equal(new Set(made).size, 3);
      if (toHex(record) !== toHex(subject)) {
        assert.notEqual(toHex(workloadLeaf(1, subject, record)), made[0]);
      }
      assert.notEqual(toHex(batchRoot([record, fromHex(made[0] ?? '')])), made[0]);
    }),
  );
});

test('every input moves the extra data', () => {
  const base = { akName: bytes('name'), exporter: ZERO_SHA256, nonce: ZERO_SHA256, root: ZERO_SHA256, count: 1 };
  const one = sha256();
  const all = [
    base,
    { ...base, akName: bytes('other') },
    { ...base, exporter: one },
    { ...base, nonce: one },
    { ...base, root: one },
    { ...base, count: 2 },
  ].map((input) => toHex(quoteExtraData(input)));
  assert.equal(new Set(all).size, all.length);
});

test('lengths are fixed, so that no field can lend a byte to the next', () => {
  const base = { akName: bytes('name'), exporter: ZERO_SHA256, nonce: ZERO_SHA256, root: ZERO_SHA256, count: 1 };
  for (const field of ['exporter', 'nonce', 'root'] as const) {
    for (const length of [0, 31, 33]) {
      assert.throws(() => quoteExtraData({ ...base, [field]: new Uint8Array(length) }), { code: 'tpm.argument' });
    }
  }
  assert.throws(() => workloadLeaf(1, new Uint8Array(31), ZERO_SHA256), { code: 'tpm.argument' });
  assert.throws(() => batchRoot([new Uint8Array(33)]), { code: 'tpm.argument' });
});

test('what stands for the exporter in SPIRE is of the nonce, and no other use of it', () => {
  const nonce = new Uint8Array(32).fill(9);
  assert.deepEqual(spireExporter(nonce), sha256(Buffer.from('lacre/spire-node/v1\0'), nonce));
  assert.throws(() => spireExporter(new Uint8Array(31)), { code: 'tpm.argument' });
});

test('a root is the caller’s own: what becomes of it changes neither a leaf nor the next root', () => {
  const leaf = sha256();
  for (const all of [[], [leaf]]) batchRoot(all).fill(0xff);
  assert.deepEqual(leaf, sha256());
  assert.deepEqual(batchRoot([]), new Uint8Array(32));
});
