import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, evmSigFields, legacyEntry, listEntry } from '../../test/simulator/hostile-entry.ts';
import { sha256, ZERO_SHA256 } from '../bytes/sha256.ts';
import { ListReplay } from './list-replay.ts';
import { type KnownFiles, MeasuredFile } from './measured-file.ts';
import { ListedMeasurement } from './measurement.ts';

const ZERO = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const DIGEST = sha256(Buffer.from('x'));
const HEX = Buffer.from(DIGEST).toString('hex');

function read(list: Uint8Array, known: readonly KnownFiles[] = []): ListedMeasurement {
  const replay = new ListReplay(ZERO);
  replay.know(known);
  const [entry] = replay.append(list);
  assert.ok(entry instanceof ListedMeasurement);
  return entry;
}

test('an entry says what was measured, where it ends, and whose it is', () => {
  const bytes = listEntry({
    template: 'evm-sig',
    path: '/bin/a',
    digest: DIGEST,
    rest: evmSigFields(1, 2, 3),
    pcr: 13,
  });
  const {
    index,
    pcr,
    template,
    kind,
    path,
    hex,
    algorithm,
    digestState,
    violation,
    iuid,
    igid,
    imode,
    buffer,
    endOffset,
  } = read(bytes);
  assert.deepEqual([index, pcr, template, kind, path], [0, 13, 'evm-sig', 'file', '/bin/a']);
  assert.deepEqual([hex, algorithm, digestState, violation], [HEX, 'sha256', 'usable', false]);
  assert.deepEqual([iuid, igid, imode, buffer, endOffset], [1, 2, 3, undefined, bytes.length]);
});

test('a violation says nothing of a file, whatever its digest looks like', () => {
  for (const [algorithm, length] of [['sha256', 32] as const, ['sha384', 48] as const, ['sha1', 20] as const]) {
    const digest = new Uint8Array(length).fill(1);
    const {
      fileDigest,
      digestState,
      hex,
      algorithm: told,
      buffer,
    } = read(listEntry({ violation: true, algorithm, digest }));
    assert.deepEqual([fileDigest, digestState, hex, told, buffer], [undefined, 'zero', '', '', undefined], algorithm);
  }
});

test('a violation of a buffer is no buffer', () => {
  const entry = read(
    listEntry({ template: 'ima-buf', violation: true, algorithm: 'sha256', digest: DIGEST, rest: [new Uint8Array(3)] }),
  );
  assert.deepEqual([entry.kind, entry.digestState, entry.buffer], ['file', 'zero', undefined]);
});

test('names have at least one character and at most 8,191, plain or not', () => {
  for (const character of ['a', '\n', '\x80']) {
    const name = (length: number) => Buffer.alloc(length, character, 'latin1');
    const text = character === 'a' ? 'a' : character === '\n' ? '\\x0a' : '\\x80';
    for (const length of [1, 8191]) assert.equal(read(listEntry({ path: name(length) })).path, text.repeat(length));
    for (const length of [0, 8192])
      assert.throws(() => read(listEntry({ path: name(length) })), { code: 'ima.entry.malformed' });
  }
});

test('a name of the oldest template has at least one character, and no zero', () => {
  for (const name of ['x', '\x01', 'a\x01']) assert.equal(read(legacyEntry(name)).path, name.replace('\x01', '\\x01'));
  for (const name of ['', '\0', 'a\0', '\0a'])
    assert.throws(() => read(legacyEntry(name)), { code: 'ima.entry.malformed' }, JSON.stringify(name));
});

test('a file that is known, by whichever table, is that very object; any other gets one of its own', () => {
  const [one, other] = ['/bin/a', '/bin/b'].map((path) => MeasuredFile.ofSha256(path, HEX));
  const tableOf = (file: MeasuredFile | undefined): KnownFiles => ({
    find: (bytes, digestStart, _nameStart, nameEnd, place) => {
      const key = Buffer.from(bytes.subarray(digestStart, nameEnd)).toString('latin1');
      return file?.key === key && file.place === place ? file : undefined;
    },
  });
  const tables = [tableOf(one), tableOf(other)];
  const entry = (path: string) => listEntry({ path, digest: DIGEST });
  assert.equal(read(entry('/bin/a'), tables).file, one);
  assert.equal(read(concat(entry('/bin/b'), entry('/bin/a')), tables).file, other);
  const { path, hex } = read(entry('/bin/c'), tables);
  assert.deepEqual([path, hex], ['/bin/c', HEX]);
});
