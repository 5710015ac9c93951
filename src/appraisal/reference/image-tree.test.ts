import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLATTEN_LIMITS } from './flatten-limits.ts';
import { type FileNode, ImageTree, type LeafNode } from './image-tree.ts';

const malformed = { code: 'appraisal.image.malformed' };
const over = { code: 'appraisal.image.oversized' };
const treeOf = (limits: Partial<typeof FLATTEN_LIMITS> = {}) => new ImageTree({ ...FLATTEN_LIMITS, ...limits });
const file = (layer = 0): FileNode => ({
  kind: 'file',
  layer,
  sha256: new Uint8Array(32),
  mode: 0o755,
  content: undefined,
});
const symlink = (target: string, layer = 0): LeafNode => ({ kind: 'symlink', layer, target });
const other = (layer = 0): LeafNode => ({ kind: 'other', layer });
const put = (tree: ImageTree, path: string, node: LeafNode = file()) => tree.put(path.split('/'), node);
const paths = (tree: ImageTree) => [...tree.files()].map(({ path }) => path).sort();
const resolved = (tree: ImageTree, path: string) => tree.resolveFile(path)?.path;

test('a relative symlink begins in its own folder, an absolute one in the root', () => {
  for (const [target, expected] of [
    ['e', '/d/e/f'],
    ['e/', '/d/e/f'],
    ['./e//.', '/d/e/f'],
    ['../e', '/e/f'],
    ['/e', '/e/f'],
    ['/', '/f'],
    ['e/../../../e', '/e/f'],
  ] as const) {
    const tree = treeOf();
    put(tree, 'd/link', symlink(target));
    put(tree, 'd/link/f');
    assert.deepEqual(paths(tree), [expected], target);
    assert.equal(resolved(tree, '/d/link/f'), expected);
  }
});

test('a file is found through symlinks to it, and by no name that a folder has', () => {
  const tree = treeOf();
  put(tree, 'd/x');
  for (const [name, target] of [
    ['d/relative', 'x'],
    ['d/absolute', '/d/x'],
    ['d/up', '../d/./x'],
    ['top', 'd//up'],
  ] as const) {
    put(tree, name, symlink(target));
    assert.equal(resolved(tree, `/${name}`), '/d/x', name);
  }
  assert.equal(resolved(tree, 'd/x'), '/d/x', 'from the root');
  put(tree, 'dev', other());
  put(tree, 'd/end', symlink('x/'));
  for (const path of [
    '/d',
    '/d/',
    '/d/.',
    '/d/..',
    '/',
    '',
    '/d/x/',
    '/d/x/.',
    '/d/x/y',
    '/d/end',
    '/no',
    '/no/x',
    '/dev',
  ])
    assert.equal(resolved(tree, path), undefined, path);
});

test('40 symlinks are followed, as Linux does, and no more', () => {
  const chain = (length: number, end: string) => {
    const tree = treeOf();
    put(tree, end);
    for (let index = 0; index < length; index++)
      put(tree, `l${index}`, symlink(index === length - 1 ? (end.split('/')[0] ?? '') : `l${index + 1}`));
    return tree;
  };
  assert.equal(resolved(chain(40, 'x'), '/l0'), '/x');
  assert.equal(resolved(chain(41, 'x'), '/l0'), undefined);
  assert.equal(resolved(chain(40, 'd/x'), '/l0/x'), '/d/x');
  assert.throws(() => resolved(chain(41, 'd/x'), '/l0/x'), { code: 'appraisal.image.path' });
});

test('a place is reached through a lower layer where any symlink on the way is of one', () => {
  const tree = treeOf();
  put(tree, 'a', symlink('b', 0));
  put(tree, 'b/c', symlink('/d', 1));
  assert.deepEqual(put(tree, 'a/x', file(0)), { throughLower: false });
  assert.deepEqual(put(tree, 'a/x', file(1)), { throughLower: true });
  assert.deepEqual(put(tree, 'b/c/x', file(1)), { throughLower: false });
  assert.deepEqual(put(tree, 'a/c/x', file(1)), { throughLower: true });
});

test('nothing lies below a file or a device', () => {
  const tree = treeOf();
  put(tree, 'f');
  put(tree, 'dev', other());
  for (const path of ['f/x', 'dev/x', 'f/x/y']) assert.throws(() => put(tree, path), malformed, path);
  assert.throws(() => tree.putDirectory(['f', 'x'], 0), malformed);
  assert.throws(() => tree.opaque(['f', 'x'], 0), malformed);
});

test('a hard link names what is no folder, by its own path, symlinks on the way followed', () => {
  const tree = treeOf();
  put(tree, 'd/e/x', other());
  put(tree, 'link', symlink('d'));
  assert.equal(tree.linkTarget(['d', 'e', 'x']).kind, 'other');
  assert.equal(tree.linkTarget(['link', 'e', 'x']).kind, 'other');
  assert.equal(tree.linkTarget(['link']).kind, 'symlink');
  for (const path of ['x', 'd/x', 'no/x', 'd', 'd/e', 'd/e/x/y'])
    assert.throws(() => tree.linkTarget(path.split('/')), malformed, path);
  assert.throws(() => tree.linkTarget([]), malformed);
});

test('a whiteout hides what lower layers have, wherever it lies, and nothing of its own layer', () => {
  const tree = treeOf();
  for (const path of ['d/a', 'd/e/b', 'd/c', 'k']) put(tree, path, file(0));
  put(tree, 'd/e/own', file(1));
  put(tree, 'd/dev', other(0));
  tree.whiteout(['d'], 0);
  assert.deepEqual(paths(tree), ['/d/a', '/d/c', '/d/e/b', '/d/e/own', '/k']);
  tree.whiteout(['d', 'c'], 1);
  assert.deepEqual(paths(tree), ['/d/a', '/d/e/b', '/d/e/own', '/k']);
  tree.whiteout(['d'], 1);
  assert.deepEqual(paths(tree), ['/d/e/own', '/k']);
  put(tree, 'd/dev/x', file(1));
  for (const path of ['no', 'no/x', 'k/x']) tree.whiteout(path.split('/'), 1);
  assert.deepEqual(paths(tree), ['/d/dev/x', '/d/e/own', '/k']);
});

test('an opaque folder holds nothing of lower layers, also where they have something else at its path', () => {
  const tree = treeOf();
  for (const path of ['d/a', 'd/e/b', 'f', 'k/x', 'e/x']) put(tree, path, file(0));
  put(tree, 'link', symlink('k', 0));
  put(tree, 'd/own', file(1));
  for (const path of ['d', 'f', 'link', 'new']) tree.opaque([path], 1);
  assert.deepEqual(paths(tree), ['/d/own', '/e/x', '/k/x']);
  for (const path of ['f/y', 'link/y', 'new/y']) put(tree, path, file(1));
  assert.deepEqual(paths(tree), ['/d/own', '/e/x', '/f/y', '/k/x', '/link/y', '/new/y']);
  tree.opaque([], 1);
  assert.deepEqual(paths(tree), ['/d/own', '/f/y', '/link/y', '/new/y']);
});

test('a folder that is there again keeps what it holds; of the root there is one', () => {
  const tree = treeOf();
  put(tree, 'd/x');
  tree.putDirectory(['d'], 1);
  assert.equal(tree.putDirectory([], 1), tree.root);
  assert.deepEqual(paths(tree), ['/d/x']);
  assert.throws(() => tree.put([], file()), malformed);
});

test('folders are as deep as they may be, and looking for one makes none', () => {
  const tree = treeOf({ depth: 3 });
  put(tree, 'a/b/x');
  assert.throws(() => put(tree, 'a/b/c/x'), over);
  assert.throws(() => tree.putDirectory(['a', 'b', 'c'], 0), over);
  assert.equal(resolved(tree, '/a/b/c/d/x'), undefined);
  tree.whiteout(['a', 'b', 'c', 'd', 'x'], 1);
  assert.deepEqual(paths(tree), ['/a/b/x']);
});

test('a path is shorter than the bound, its slash counted', () => {
  const tree = treeOf({ pathBytes: 8 });
  put(tree, 'abc/def'.slice(0, 6));
  assert.deepEqual(paths(tree), ['/abc/de']);
  put(tree, 'abc/def');
  assert.throws(() => paths(tree), over);
});
