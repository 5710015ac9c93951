import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLATTEN_LIMITS } from './flatten-limits.ts';
import { resolveEntrypoint, resolveUser } from './image-process.ts';
import { ImageTree, toByteString } from './image-tree.ts';

/** A tree of programs: path, and mode or content. */
function treeOf(files: Readonly<Record<string, number | string>>): ImageTree {
  const tree = new ImageTree(FLATTEN_LIMITS);
  for (const [path, value] of Object.entries(files)) {
    const [mode, content] = typeof value === 'number' ? [value, undefined] : [0o644, Buffer.from(value)];
    const parts = toByteString(path).split('/').slice(1);
    tree.put(parts, { kind: 'file', layer: 0, sha256: new Uint8Array(32), mode, content });
  }
  return tree;
}

const entrypoint = (tree: ImageTree, words: string[], path?: string, workingDir = '') =>
  resolveEntrypoint(tree, words, new Map(path === undefined ? [] : [['PATH', path]]), workingDir);
const unresolved = { code: 'appraisal.entrypoint.unresolved' };

test('without PATH a program is looked for in the usual folders, in their order', () => {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  for (const [index, folder] of folders.entries()) {
    const tree = treeOf(Object.fromEntries(folders.slice(index).map((one) => [`${one}/app`, 0o755])));
    assert.equal(entrypoint(tree, ['app']), `${folder}/app`);
  }
  assert.throws(() => entrypoint(treeOf({ '/opt/app': 0o755, '/app': 0o755 }), ['app']), unresolved);
});

test('PATH and a program with a slash: absolute as they stand, else below the working directory', () => {
  const tree = treeOf({ '/bin/app': 0o755, '/work/bin/app': 0o755, '/work/run': 0o755, '/run': 0o755 });
  assert.equal(entrypoint(tree, ['app'], '/bin', '/work'), '/bin/app');
  assert.equal(entrypoint(tree, ['app'], 'bin/', '/work'), '/work/bin/app');
  assert.equal(entrypoint(tree, ['app'], '/none:bin', '/work'), '/work/bin/app');
  assert.equal(entrypoint(tree, ['./run'], '/bin', '/work'), '/work/run');
  assert.equal(entrypoint(tree, ['./run'], '/bin', ''), '/run');
  assert.equal(entrypoint(tree, ['/run'], '/bin', '/work'), '/run');
  assert.equal(entrypoint(tree, ['run'], '.', ''), '/run');
});

test('no program has no path; one that cannot be executed is none', () => {
  const tree = treeOf({ '/bin/app': 0o755 });
  assert.equal(entrypoint(tree, []), '');
  assert.equal(entrypoint(tree, ['', 'x']), '');
  for (const mode of [0o100, 0o010, 0o001, 0o4755]) assert.equal(entrypoint(treeOf({ '/a': mode }), ['/a']), '/a');
  for (const mode of [0o666, 0o4444, 0]) assert.throws(() => entrypoint(treeOf({ '/a': mode }), ['/a']), unresolved);
});

test('a path that is not ASCII is spelled as the list does', () => {
  assert.equal(entrypoint(treeOf({ '/caf\u00e9': 0o755 }), ['/caf\u00e9']), '/caf\u00e9');
});

test('a user is a name or a number, with a group or without', () => {
  const tree = treeOf({
    '/etc/passwd': 'root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/\nshort:x:5\nempty:x:6::\n77:x:78:79::\n:x:12:13:\n',
    '/etc/group': 'root:x:0:\nstaff:x:50:app\n77:x:80:\n',
  });
  for (const [user, expected] of [
    ['', '0:0'],
    [':', '0:0'],
    [':staff', '0:50'],
    ['app', '1000:1001'],
    ['app:', '1000:1001'],
    ['app:staff', '1000:50'],
    ['app:7', '1000:7'],
    ['app:77', '1000:77'],
    ['app:staff:x', '1000:50'],
    ['1000', '1000:1001'],
    ['01:02', '1:2'],
    ['7', '7:0'],
    ['short', '5:0'],
    ['5', '5:0'],
    ['empty', '6:0'],
    ['6', '6:0'],
    ['77', '77:79'],
    ['nobody', 'nobody'],
    ['nobody:staff', 'nobody:staff'],
    ['app:none', 'app:none'],
    ['7x', '7x'],
    ['x7', 'x7'],
    ['app:5x', 'app:5x'],
    ['app:x5', 'app:x5'],
  ] as const)
    assert.equal(resolveUser(tree, user), expected, user);
  assert.equal(resolveUser(treeOf({}), '5:6'), '5:6');
  assert.equal(resolveUser(treeOf({}), 'undefined'), 'undefined');
});

test('a row whose numbers are none names nobody', () => {
  for (const row of [
    'app',
    'app:x',
    'app:x:',
    'app:x:one:2:',
    'app:x:1x:2:',
    'app:x:x1:2:',
    'app:x:1:two',
    'app:x:1:2x:',
  ])
    assert.equal(resolveUser(treeOf({ '/etc/passwd': row }), 'app'), 'app', row);
  for (const row of ['staff', 'staff:x', 'staff:x:', 'staff:x:one:', 'staff:x:1x:', 'staff:x:x1:'])
    assert.equal(resolveUser(treeOf({ '/etc/group': row }), '1:staff'), '1:staff', row);
  assert.equal(resolveUser(treeOf({ '/etc/passwd': 'app:x:7:two:' }), '7'), '7:0');
});
