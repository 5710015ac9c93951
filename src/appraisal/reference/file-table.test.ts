import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { sha256, sha256Hex } from '../../bytes/sha256.ts';
import { measuredName } from '../../ima/measured-name.ts';
import { FileTable, type ReferenceFile } from './file-table.ts';

const text = (value: string) => new TextEncoder().encode(value);
const row = (path: string, content = path, mode = 0o644): ReferenceFile => ({
  path,
  sha256: sha256(text(content)),
  mode,
});
const faulty = { code: 'appraisal.files.malformed' };
const part = fc
  .string({ minLength: 1, maxLength: 6 })
  .filter((name) => !/[/ \p{Cc}\u2028\u2029]|^\.{1,2}$/u.test(name) && name.isWellFormed());
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);

test('any set of files is found again, before and after encoding', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(path, fc.nat(3)), { maxLength: 40 }),
      fc.array(path, { maxLength: 10 }),
      (files, strangers) => {
        const table = FileTable.of(files.map(([name, version]) => row(name, String(version), version)));
        const again = FileTable.decode(table.encode().slice());
        const expected = Map.groupBy(files, ([name]) => name);
        for (const name of [...expected.keys(), ...strangers]) {
          const digests = expected.get(name)?.map(([, version]) => sha256Hex(text(String(version))));
          assert.deepEqual(again.get(name), digests && new Set(digests.sort()));
          const below = files.some(([other]) => other === name || other.startsWith(`${name}/`));
          assert.equal(again.hasAtOrBelow(name), below);
        }
        assert.deepEqual([...again], [...table]);
      },
    ),
  );
});

test('a path may have several digests; one row is kept once', () => {
  const table = FileTable.of([row('/a', '1'), row('/a', '2'), row('/a', '1'), row('/ab'), row('/a/b', '', 0o4755)]);
  assert.equal(table.size, 4);
  assert.equal(table.has('/a', sha256Hex(text('2'))), true);
  assert.equal(table.has('/a', sha256Hex(text('3'))), false);
  assert.equal(table.hasAtOrBelow('/'), true);
  assert.equal(FileTable.EMPTY.hasAtOrBelow('/'), false);
  assert.deepEqual([...table].find((file) => file.path === '/a/b')?.mode, 0o4755);
});

test('paths that no file can have, and short digests, are refused', () => {
  for (const name of ['', 'a', '/', '/a/', '/a//b', '/./a', '/a/..', '/a\0b', `/${'a'.repeat(20_000)}`]) {
    assert.throws(() => FileTable.of([row(name)]), { code: 'appraisal.files.malformed' }, name);
  }
  assert.throws(() => FileTable.of([{ ...row('/a'), sha256: new Uint8Array(31) }]), {
    code: 'appraisal.files.malformed',
  });
  for (const name of ['/...', '/a/.b', '/.wh', '/a\\x2f', '/ü']) assert.equal(FileTable.of([row(name)]).size, 1, name);
});

test('damaged tables are refused, never read wrongly', () => {
  const good = FileTable.of([row('/a'), row('/b'), row('/c/d')]).encode();
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bad = good.slice();
      bad[at] = (bad[at] ?? 0) ^ change;
      const digestsAt = 12 + 4 * 3;
      if (at >= digestsAt && at < digestsAt + 34 * 3) return; // digests and modes: any value is one
      try {
        const table = FileTable.decode(bad);
        assert.deepEqual([...table].length, 3); // another letter of a path
      } catch (error) {
        assert.match(String((error as { code?: string }).code), /^(appraisal\.files\.malformed|bytes\.oversized)$/);
      }
    }),
    { numRuns: 1000 },
  );
  for (let length = 0; length < good.length; length++)
    assert.throws(() => FileTable.decode(good.slice(0, length)), { code: 'appraisal.files.malformed' });
  const short = FileTable.of([row('/a'), row('/bc')])
    .encode()
    .slice();
  short[12 + 4] = 4; // "/b", and one byte left over
  assert.throws(() => FileTable.decode(short), { code: 'appraisal.files.malformed', message: /do not fill/ });
  const none = Uint8Array.from([...FileTable.EMPTY.encode(), 0x61]);
  none[8] = 1;
  assert.throws(() => FileTable.decode(none), { code: 'appraisal.files.malformed', message: /do not fill/ });
});

/** A table byte by byte: rows as they are given, ends as they are or as told. */
function blockOf(
  rows: readonly [path: string | Uint8Array, content?: string, mode?: number][],
  ends?: number[],
): Buffer {
  const paths = rows.map(([name]) => Buffer.from(name));
  const u32 = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
  const bytes = Buffer.concat(paths);
  const own = paths.map((_, i) => paths.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0));
  return Buffer.concat([
    Buffer.from('1FRL'),
    u32(rows.length, bytes.length, ...(ends ?? own)),
    ...rows.map(([, content = 'x']) => sha256(text(content))),
    Buffer.from(Uint16Array.from(rows.map(([, , mode = 0o644]) => mode)).buffer),
    bytes,
  ]);
}

test('the format: magic, counts, ends, digests, modes, paths', () => {
  const rows: [string, string, number][] = [
    ['/a', '1', 0o755],
    ['/b/c', '2', 0o4644],
  ];
  const block = blockOf(rows);
  assert.deepEqual(Buffer.from(FileTable.of(rows.map((one) => row(...one))).encode()), block);
  assert.deepEqual(
    [...FileTable.decode(block)].map(({ path: name, mode }) => [name, mode]),
    [
      ['/a', 0o755],
      ['/b/c', 0o4644],
    ],
  );
  for (let at = 0; at < 4; at++) {
    const other = Buffer.from(block);
    other[at] = 0;
    assert.throws(() => FileTable.decode(other), faulty);
  }
});

test('paths of a table are sorted, each behind the last one, in UTF-8, and such as a file can have', () => {
  for (const good of [[], [['/a']], [['/a'], ['/a', 'y'], ['/b']], [['/a'], ['/\u00e9']]] as [string, string?][][])
    assert.equal(FileTable.decode(blockOf(good)).size, good.length);
  assert.throws(() => FileTable.decode(blockOf([['/b'], ['/a']])), faulty);
  assert.throws(() => FileTable.decode(blockOf([['/a'], ['/c'], ['/b']])), faulty);
  for (const bad of ['a', '/', '/a/', '/a/../b', '/a\0'])
    for (const rows of [[[bad]], [[bad], ['/\u00e9']], [['!'], [bad]]] as [string][][])
      assert.throws(() => FileTable.decode(blockOf(rows)), faulty, JSON.stringify(rows));
  assert.throws(() => FileTable.decode(blockOf([[Uint8Array.of(0x2f, 0xff)]])), faulty);
  for (const ends of [
    [0, 4],
    [2, 2],
    [4, 2],
    [5, 4],
    [2, 5],
    [2, 3],
    [1, 4],
  ])
    assert.throws(() => FileTable.decode(blockOf([['/a'], ['/b']], ends)), faulty, ends.join());
});

test('a table has 500,000 files at most', () => {
  const ofCount = (count: number) => {
    const block = blockOf([['/a']]);
    block.writeUInt32LE(count, 4);
    return block;
  };
  assert.throws(() => FileTable.decode(ofCount(500_000)), faulty);
  for (const count of [500_001, 0xffff_ffff])
    assert.throws(() => FileTable.decode(ofCount(count)), { code: 'bytes.oversized' });
});

test('what is not in a table is not found, be it empty or behind its last row', () => {
  for (const table of [FileTable.EMPTY, FileTable.of([row('/a')])]) {
    for (const name of ['', '/', '/b', '/a/', '/a/b']) assert.equal(table.get(name), undefined, name);
    for (const name of ['/b', '/a/b', '/A']) assert.equal(table.hasAtOrBelow(name), false, name);
  }
  assert.equal(FileTable.of([row('/a')]).hasAtOrBelow('/'), true);
});

test('of two rows with one path and digest the first is kept', () => {
  const modes = (rows: ReferenceFile[]) => [...FileTable.of(rows)].map(({ mode }) => mode);
  assert.deepEqual(modes([row('/a', '1', 0o755), row('/a', '1', 0o644), row('/b', '1', 0o600)]), [0o755, 0o600]);
});

test('more files than can be kept are refused; the same file again is no more', () => {
  const files = [row('/a'), row('/b'), row('/a')];
  assert.equal(FileTable.of(files, 2).size, 2);
  assert.throws(() => FileTable.of(files, 1), { code: 'bytes.oversized' });
  assert.equal(FileTable.of(files).has('/c', sha256Hex(text('/c'))), false);
});

test('100,000 files: encoded, decoded and looked up in moments', () => {
  const digest = sha256(text('x'));
  const files = Array.from({ length: 100_000 }, (_, i) => ({
    path: `/usr/lib/python3/dist-packages/module${i % 977}/file${i}.py`,
    sha256: digest,
    mode: 0o644,
  }));
  const before = process.cpuUsage();
  const block = FileTable.of(files).encode();
  const table = FileTable.decode(block);
  for (const file of files) assert.ok(table.get(file.path));
  const { user, system } = process.cpuUsage(before);
  assert.equal(table.size, files.length);
  assert.ok(block.length < 10_000_000, `${block.length} bytes`);
  assert.ok(user + system < 20_000_000, `${user + system} \u00b5s of the processor`);
});

test('paths are found as the kernel spells them, with underscores for spaces and bytes for what cannot be printed', () => {
  const table = FileTable.of([row('/a b/c\td'), row('/caf\u00e9'), row('/x\u0085')]);
  assert.deepEqual(
    [...table].map(({ path: name }) => name),
    ['/a_b/c\\x09d', '/caf\u00e9', '/x\\xc2\\x85'],
  );
  for (const name of ['/a b/c\td', '/x\u0085']) assert.equal(table.get(name)?.size, 1);
  assert.equal(table.get(measuredName('/a b/c\td'))?.size, 1);
  assert.equal(table.hasAtOrBelow('/a b'), true);
});
