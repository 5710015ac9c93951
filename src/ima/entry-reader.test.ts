import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  concat,
  type EntryOptions,
  evmSigFields,
  frame,
  legacyEntry,
  listEntry,
  templateData,
} from '../../test/simulator/hostile-entry.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { ListReplay } from './list-replay.ts';
import type { Measurement } from './measurement.ts';
import type { ListPcrs } from './pending-prefixes.ts';
import { TEMPLATES } from './template.ts';

const ZERO: ListPcrs = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const BUFFER = Buffer.from('measure func=BPRM_CHECK\n');
const podman = readFileSync(new URL('../../vectors/ima/podman-trixie.list', import.meta.url));

function read(bytes: Uint8Array): Measurement {
  const [entry] = new ListReplay(ZERO).append(bytes);
  return entry ?? assert.fail('no whole entry');
}

/** Code of the error that an entry is refused with. */
function codeOf(bytes: Uint8Array): string | undefined {
  try {
    new ListReplay(ZERO).append(bytes);
    return undefined;
  } catch (error) {
    if (error instanceof LacreError) return error.code;
    throw error;
  }
}

const DIGEST = sha256(Buffer.from('x'));
const HEX = Buffer.from(DIGEST).toString('hex');

test('every built-in template is read', () => {
  const empty = new Uint8Array();
  const modsig = [Uint8Array.of(3, 1), concat(Buffer.from('sha256:\0'), DIGEST), Uint8Array.of(5)];
  const rests: Record<string, Uint8Array[]> = {
    'ima-ng': [],
    'ima-ngv2': [],
    'ima-sig': [Uint8Array.of(3, 2, 1)],
    'ima-sigv2': [empty],
    'ima-buf': [BUFFER],
    'ima-modsig': modsig,
    'evm-sig': evmSigFields(200_000, 200_001, 0o100644),
  };
  assert.deepEqual(Object.keys(rests).sort(), [...TEMPLATES.keys()].sort());
  for (const [template, rest] of Object.entries(rests)) {
    const digest = template === 'ima-buf' ? sha256(BUFFER) : DIGEST;
    const entry = read(listEntry({ template, rest, digest, path: '/bin/a' }));
    assert.equal(entry.template, template);
    assert.equal(entry.path, '/bin/a');
    assert.equal(entry.digestState, 'usable');
    assert.equal(entry.fileDigest?.hex, Buffer.from(digest).toString('hex'));
    const owner = template === 'evm-sig' ? [200_000, 200_001, 0o100644] : [undefined, undefined, undefined];
    assert.deepEqual([entry.iuid, entry.igid, entry.imode], owner);
    assert.equal(entry.kind, template === 'ima-buf' ? 'buffer' : 'file');
  }
});

test('the template ima hashes its name in 256 bytes, and its SHA-1 is never usable', () => {
  const digest = new Uint8Array(20).fill(7);
  const replay = new ListReplay(ZERO);
  const [entry] = replay.append(legacyEntry('/bin/a', digest));
  assert.deepEqual([entry?.path, entry?.digestState, entry?.fileDigest], ['/bin/a', 'refused', undefined]);
  const padded = Buffer.alloc(276);
  padded.set(digest);
  padded.write('/bin/a', 20);
  assert.deepEqual(replay.pcrsAt(1)?.pcr10, sha256(ZERO_SHA256, sha256(padded)));
});

test('a violation folds ones, and says nothing of a file', () => {
  const replay = new ListReplay(ZERO);
  const [entry] = replay.append(listEntry({ violation: true, path: '/var/log/x', digest: DIGEST }));
  assert.deepEqual([entry?.violation, entry?.fileDigest, entry?.digestState], [true, undefined, 'zero']);
  assert.deepEqual(replay.pcrsAt(1)?.pcr10, sha256(ZERO_SHA256, new Uint8Array(32).fill(0xff)));
});

const states: readonly (readonly [string, EntryOptions, string])[] = [
  ['a zero digest that is no violation', { digest: ZERO_SHA256, path: 'SYSV00000000' }, 'zero'],
  ['SHA-384', { algorithm: 'sha384', digest: new Uint8Array(48).fill(1) }, 'usable'],
  ['SHA-512', { algorithm: 'sha512', digest: new Uint8Array(64).fill(1) }, 'usable'],
  ['SHA-1', { algorithm: 'sha1', digest: new Uint8Array(20).fill(1) }, 'refused'],
  ['MD5', { algorithm: 'md5', digest: new Uint8Array(16).fill(1) }, 'refused'],
  ['SHA-256 by another name', { algorithm: 'SHA256', digest: DIGEST }, 'refused'],
  ['a longer name that begins so', { algorithm: 'sha256x', digest: DIGEST }, 'refused'],
  ['no digest at all', { algorithm: 'sm3', digest: new Uint8Array() }, 'zero'],
];
for (const [name, options, state] of states) {
  test(`file digest: ${name} is ${state}`, () => {
    const entry = read(listEntry(options));
    assert.equal(entry.digestState, state);
    assert.equal(entry.fileDigest !== undefined, state === 'usable');
  });
}

test('the digest of a fs-verity tree is never taken for one of the content', () => {
  const data = Buffer.from(templateData({ template: 'ima-ngv2', digest: DIGEST }));
  assert.equal(read(frame(10, 'ima-ngv2', data)).fileDigest?.hex, HEX);
  const verity = concat(Buffer.from([47, 0, 0, 0]), Buffer.from('verity:sha256:\0'), DIGEST, data.subarray(4 + 44));
  assert.equal(read(frame(10, 'ima-ngv2', verity)).digestState, 'refused');
});

const fields = (...values: Uint8Array[]) =>
  concat(...values.flatMap((value) => [Buffer.from(new Uint32Array([value.length]).buffer), value]));
const NG = concat(Buffer.from('sha256:\0'), DIGEST);
const NAME = Buffer.from('/bin/a\0');
const NONE = new Uint8Array();
const good: EntryOptions = { template: 'evm-sig', rest: evmSigFields(1) };
const refused: readonly (readonly [string, Uint8Array, string])[] = [
  ['PCR 11', listEntry({ pcr: 11 }), 'ima.entry.pcr'],
  ['PCR 12', listEntry({ pcr: 12 }), 'ima.entry.pcr'],
  ['PCR 2^31', listEntry({ pcr: 2 ** 31 }), 'ima.entry.pcr'],
  [
    'a format of the command line',
    frame(10, 'd-ng|n-ng|iuid', fields(NG, NAME, new Uint8Array(4))),
    'ima.entry.template',
  ],
  ['fields renamed', frame(10, 'n-ng|d-ng', templateData({})), 'ima.entry.template'],
  [
    'fields of evm-sig renamed',
    frame(10, 'd-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|igid|iuid|imode', templateData(good)),
    'ima.entry.oversized',
  ],
  ['a template by the name of an object property', frame(10, 'constructor', templateData({})), 'ima.entry.template'],
  ['evm-sig passed off as ima-ng', frame(10, 'ima-ng', templateData(good)), 'ima.entry.malformed'],
  ['ima-sig passed off as evm-sig', frame(10, 'evm-sig', templateData({})), 'ima.entry.malformed'],
  ['ima-ng passed off as ima-ngv2', frame(10, 'ima-ngv2', templateData({ template: 'ima-ng' })), 'ima.entry.malformed'],
  ['ima-ngv2 passed off as ima-ng', frame(10, 'ima-ng', templateData({ template: 'ima-ngv2' })), 'ima.entry.malformed'],
  [
    'an executed file passed off as a buffer',
    frame(10, 'ima-buf', templateData({ path: '/bin/evil' })),
    'ima.entry.malformed',
  ],
  ['an empty template name', frame(10, '', templateData({})), 'ima.entry.oversized'],
  ['a template name over its bound', frame(10, 'x'.repeat(65), templateData({})), 'ima.entry.oversized'],
  ['template data over its bound', frame(10, 'ima-buf', new Uint8Array(64 * 1024 + 1)), 'ima.entry.oversized'],
  ['a name of the old template over its bound', legacyEntry('/'.repeat(256)), 'ima.entry.oversized'],
  ['no fields', frame(10, 'ima-ng', NONE), 'ima.entry.malformed'],
  [
    'a field that ends outside',
    frame(10, 'ima-ng', concat(fields(NG), Uint8Array.of(255, 255, 255, 255), NAME)),
    'ima.entry.malformed',
  ],
  ['a field more', frame(10, 'ima-ng', fields(NG, NAME, NONE)), 'ima.entry.malformed'],
  [
    'bytes behind the last field',
    frame(10, 'ima-ng', concat(fields(NG, NAME), Uint8Array.of(0))),
    'ima.entry.malformed',
  ],
  ['a name without end', frame(10, 'ima-ng', fields(NG, Buffer.from('/bin/a'))), 'ima.entry.malformed'],
  ['an empty name', frame(10, 'ima-ng', fields(NG, Uint8Array.of(0))), 'ima.entry.malformed'],
  ['no name', frame(10, 'ima-ng', fields(NG, NONE)), 'ima.entry.malformed'],
  ['a zero in the name', frame(10, 'ima-ng', fields(NG, Buffer.from('/bin/a\0b\0'))), 'ima.entry.malformed'],
  ['a name over its bound', listEntry({ path: '/'.repeat(8192) }), 'ima.entry.malformed'],
  ['a zero in the name of the old template', legacyEntry('/bin/a\0'), 'ima.entry.malformed'],
  ['a SHA-256 of 20 bytes', listEntry({ digest: new Uint8Array(20).fill(1) }), 'ima.entry.malformed'],
  ['a SHA-256 of 33 bytes', listEntry({ digest: new Uint8Array(33).fill(1) }), 'ima.entry.malformed'],
  ['no algorithm', frame(10, 'ima-ng', fields(DIGEST, NAME)), 'ima.entry.malformed'],
  [
    'an algorithm without name',
    frame(10, 'ima-ng', fields(concat(Buffer.from(':\0'), DIGEST), NAME)),
    'ima.entry.malformed',
  ],
  [
    'an owner of 8 bytes',
    listEntry({ ...good, rest: evmSigFields(1).with(4, new Uint8Array(8)) }),
    'ima.entry.malformed',
  ],
  [
    'a mode of 4 bytes',
    listEntry({ ...good, rest: evmSigFields(1).with(6, new Uint8Array(4)) }),
    'ima.entry.malformed',
  ],
];
for (const [name, bytes, code] of refused) {
  test(`refused: ${name}`, () => assert.equal(codeOf(bytes), code));
}

test('a buffer of an algorithm that is not used is a file of unknown content, not a buffer', () => {
  const sha1 = new Uint8Array(createHash('sha1').update(BUFFER).digest());
  const entry = read(
    listEntry({ template: 'ima-buf', algorithm: 'sha1', digest: sha1, rest: [BUFFER], path: 'kexec-cmdline' }),
  );
  assert.deepEqual([entry.kind, entry.digestState, entry.buffer], ['file', 'refused', undefined]);
});

test('a buffer is handed out as a copy', () => {
  const bytes = listEntry({ template: 'ima-buf', digest: sha256(BUFFER), rest: [BUFFER], path: 'ima_policy_written' });
  const entry = read(bytes);
  bytes.fill(0);
  assert.deepEqual(entry.buffer, new Uint8Array(BUFFER));
  assert.equal(entry.kind, 'buffer');
});

test('a name with line breaks or a whole forged line is one entry', () => {
  const forged = '/tmp/x\n10 0000000000000000000000000000000000000000 ima-ng sha256:00 /bin/app';
  const found = new ListReplay(ZERO).append(concat(listEntry({ path: forged }), listEntry({ path: '/b' })));
  assert.deepEqual(
    found.map(({ path }) => path),
    [forged.replace('\n', '\\x0a'), '/b'],
  );
});

test('an entry cut anywhere is no entry yet; cut within the list, the rest is kept', () => {
  const [, , , fourth] = new ListReplay(ZERO).append(podman);
  for (const [list, step] of [[podman.subarray(0, fourth?.endOffset), 1] as const, [podman, 499] as const]) {
    const replayed = new ListReplay(ZERO).append(list);
    for (let length = 0; length < list.length; length += step) {
      const replay = new ListReplay(ZERO);
      const found = replay.append(list.subarray(0, length));
      assert.equal(found.length, replayed.filter(({ endOffset }) => endOffset <= length).length);
      assert.equal(replay.byteLength, length);
      assert.equal(found.length + replay.append(list.subarray(length)).length, replayed.length);
    }
  }
});

test('one byte at a time costs no more than the bytes', () => {
  const big = listEntry({
    template: 'ima-buf',
    digest: sha256(new Uint8Array(60_000)),
    rest: [new Uint8Array(60_000)],
  });
  const replay = new ListReplay(ZERO);
  const found: Measurement[] = [];
  for (let i = 0; i < big.length; i++) found.push(...replay.append(big.subarray(i, i + 1)));
  assert.equal(found.length, 1);
  assert.equal(found[0]?.buffer?.length, 60_000);
});

test('an inflated length anywhere in an entry is refused, or waits for bytes that are bounded', () => {
  const entry = listEntry(good);
  for (let offset = 0; offset + 4 <= entry.length; offset++) {
    for (const value of [0xffff_ffff, 0x7fff_ffff, 0x0001_0000]) {
      const bytes = Buffer.from(entry);
      bytes.writeUInt32LE(value, offset);
      const replay = new ListReplay(ZERO);
      try {
        const count = replay.append(bytes).length;
        assert.ok(count === 1 || replay.length === 0);
        if (count === 0) replay.append(new Uint8Array(70_000));
      } catch (error) {
        assert.ok(error instanceof LacreError, `offset ${offset}`);
      }
    }
  }
});

test('whatever the bytes, nothing but a LacreError is thrown', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      codeOf(bytes);
      codeOf(concat(listEntry(), bytes));
      codeOf(frame(10, 'evm-sig', bytes));
      codeOf(frame(10, 'ima-buf', bytes));
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(podman.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      (changes) => {
        const list = Buffer.from(podman);
        for (const [offset, value] of changes) list[offset] = value;
        codeOf(list);
      },
    ),
    { numRuns: 150 },
  );
});
