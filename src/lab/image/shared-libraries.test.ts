import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FileTree } from './file-tree.ts';
import { neededNames, sharedLibraries } from './shared-libraries.ts';

const node = readFileSync(process.execPath);

test('the libraries of this very Node are found in its dynamic section', () => {
  const names = neededNames(node);
  assert.ok(names.includes('libc.so.6'), names.join(' '));
  assert.ok(
    names.every((name) => /^(lib|ld-)[\w.+-]+$/.test(name)),
    names.join(' '),
  );
});

test('what is no ELF file, or a cut one, needs nothing', () => {
  assert.deepEqual(neededNames(Buffer.from('#!/bin/sh\n')), []);
  assert.deepEqual(neededNames(node.subarray(0, 63)), []);
});

test('a library that the packages lack is named', () => {
  const tree = new FileTree().file('usr/lib/x86_64-linux-gnu/libc.so.6', 'no library');
  assert.throws(() => sharedLibraries(tree, node), { code: 'lab.build.archive' });
});

test('libraries are followed through symbolic links, each once', () => {
  const folder = 'usr/lib/x86_64-linux-gnu';
  const tree = new FileTree();
  for (const name of neededNames(node))
    tree.file(`${folder}/${name}.real`, 'static').link(`${folder}/${name}`, `${name}.real`);
  assert.deepEqual(
    sharedLibraries(tree, node),
    neededNames(node)
      .map((name) => `${folder}/${name}`)
      .sort(),
  );
});
