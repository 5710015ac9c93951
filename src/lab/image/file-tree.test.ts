import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileTree } from './file-tree.ts';

async function bytes(tree: FileTree): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of tree.tar()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('a tree written and read again is the same, and its bytes do not depend on the order of making', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-tree-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const tree = new FileTree().file('usr/bin/a', 'one', 0o755).folder('tmp', 0o1777).link('bin', 'usr/bin');
  const other = new FileTree().link('bin', 'usr/bin').folder('tmp', 0o1777).file('usr/bin/a', 'one', 0o755);
  assert.deepEqual(await bytes(tree), await bytes(other));
  const path = join(folder, 'tree.tar');
  writeFileSync(path, await bytes(tree));
  const read = await FileTree.fromTar(path, (name) => name !== 'tmp');
  assert.deepEqual(read.paths(), ['bin', 'usr', 'usr/bin', 'usr/bin/a']);
  assert.equal(read.get('usr/bin/a').mode, 0o755);
});

test('a path is resolved through links of files and of folders', () => {
  const tree = new FileTree()
    .file('usr/lib/x/lib.so.1', 'bytes')
    .link('usr/lib/lib.so', 'x/lib.so.1')
    .link('lib', 'usr/lib')
    .link('usr/lib64', '../usr/lib/x');
  assert.equal(tree.resolve('lib/lib.so').path, 'usr/lib/x/lib.so.1');
  assert.equal(tree.resolve('usr/lib64/lib.so.1').path, 'usr/lib/x/lib.so.1');
});

test('a loop of links and a missing file are named', () => {
  const tree = new FileTree().link('a', 'b').link('b', 'a');
  assert.throws(() => tree.resolve('a'), { code: 'lab.build.archive' });
  assert.throws(() => tree.resolve('c'), { code: 'lab.build.archive' });
});
