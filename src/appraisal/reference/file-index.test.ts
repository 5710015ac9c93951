import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { crowdedFiles } from '../../../test/simulator/crowded-file.ts';
import { toHex } from '../../bytes/hex.ts';
import { sha256 } from '../../bytes/sha256.ts';
import { KEY_NAME_AT, MeasuredFile } from '../../ima/measured-file.ts';
import { plainNameHash } from '../../ima/plain-name.ts';
import { FileTable, type ReferenceFile } from './file-table.ts';

const row = (path: string, content = path): ReferenceFile => ({
  path,
  sha256: sha256(Buffer.from(content)),
  mode: 0o644,
});
const fileOf = ({ path, sha256: digest }: Pick<ReferenceFile, 'path' | 'sha256'>) =>
  MeasuredFile.ofSha256(path, toHex(digest));

function found(table: FileTable, file: MeasuredFile): MeasuredFile | undefined {
  const bytes = Buffer.from(`..${file.key}\0`, 'latin1');
  return table.index.find(bytes, 2, 2 + KEY_NAME_AT, bytes.length - 1, file.place);
}

const path = fc.constantFrom('/a', '/b', '/a/b', '/bin/app', '/bin/app2', '/caf\u00e9', '/a_b', '/c\\x09');
const content = fc.constantFrom('1', '2', '3');

test('a plain file is found just where the table has it, path and digest together', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(path, content)), path, content, (files, name, told) => {
      const table = FileTable.of(files.map(([one, other]) => row(one, other)));
      const file = fileOf(row(name, told));
      if (file.place < 0) return;
      const expected = table.has(name, file.hex);
      assert.equal(table.index.holds(file), expected);
      const same = found(table, file);
      assert.equal(same !== undefined, expected);
      if (same === undefined) return;
      assert.deepEqual([same.key, same.path, same.hex, same.place], [file.key, file.path, file.hex, file.place]);
      assert.equal(same.home, table.index);
      assert.equal(found(table, file), same, 'one object for one row');
      assert.equal(table.index.holds(same), true);
    }),
  );
});

test('a file of another table is looked for by its bytes', () => {
  const [one, other] = [FileTable.of([row('/a'), row('/b')]), FileTable.of([row('/b')])];
  const [a, b] = ['/a', '/b'].map((name) => found(one, fileOf(row(name))) ?? assert.fail());
  assert.deepEqual([other.index.holds(a ?? assert.fail()), other.index.holds(b ?? assert.fail())], [false, true]);
});

test('files that crowd one place: some are left out, none is taken for another', () => {
  const crowd = crowdedFiles();
  const files = Array.from({ length: 200 }, () => ({ ...(crowd.next().value ?? assert.fail()), mode: 0o755 }));
  const table = FileTable.of(files.slice(0, 100));
  const held = files.map((file) => table.index.holds(fileOf(file)));
  assert.equal(held.slice(0, 100).filter((holds) => holds).length, 64, 'not all have a slot');
  assert.ok(held.slice(100).every((holds) => !holds));
  for (const file of files.slice(0, 100)) assert.ok(table.has(file.path, toHex(file.sha256)), 'the table has them all');
});

test('two names of one number, with one content: one is not the other', () => {
  const seen = new Map<number, string>();
  for (let number = 100_000; ; number++) {
    const name = `/n/${number}`;
    const hash = plainNameHash(Buffer.from(name), 0, name.length);
    const other = seen.get(hash);
    seen.set(hash, name);
    if (other === undefined || other.length !== name.length) continue;
    const [one, two] = [fileOf(row(other, 'x')), fileOf(row(name, 'x'))];
    assert.equal(one.place, two.place);
    const { index } = FileTable.of([row(other, 'x')]);
    assert.deepEqual([index.holds(one), index.holds(two)], [true, false]);
    return;
  }
});

test('a row is its name and all of its digest, whatever place it is looked for at', () => {
  const file = fileOf(row('/a'));
  const { index } = FileTable.of([row('/a')]);
  const key = Buffer.from(file.key, 'latin1');
  const found = (other: Buffer) => index.find(other, 0, KEY_NAME_AT, other.length, file.place) !== undefined;
  assert.ok(found(key));
  for (const at of [0, 1, 30, 31, key.length - 1]) {
    const other = Buffer.from(key);
    other[at] = (other[at] ?? 0) ^ 1;
    assert.ok(!found(other), `byte ${at}`);
  }
  assert.ok(!found(key.subarray(0, -1)));
  assert.ok(!found(Buffer.concat([key, Buffer.from('b')])));
});

test('a file whose place is 0 is found like any other', () => {
  const { value } = crowdedFiles(0).next();
  const file = fileOf(value ?? assert.fail());
  assert.equal(file.place, 0);
  assert.ok(FileTable.of([{ ...value, mode: 0 }]).index.holds(file));
  assert.ok(!FileTable.of([row('/a')]).index.holds(file));
});

test('a name that is not plain is left to the table', () => {
  for (const name of ['/caf\u00e9', '/c\\x09']) {
    const [table, file] = [FileTable.of([row(name)]), fileOf(row(name))];
    assert.deepEqual([file.place, table.index.holds(file), table.has(name, file.hex)], [-1, false, true]);
  }
});

test('an empty table holds nothing', () => {
  assert.equal(FileTable.EMPTY.index.holds(fileOf(row('/a'))), false);
});
