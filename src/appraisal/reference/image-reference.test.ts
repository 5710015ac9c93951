import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileTable } from './file-table.ts';
import { type ImageReference, imageReferenceMessage, imageReferenceOf, pairs } from './image-reference.ts';

const files = FileTable.of([{ path: '/app/run_it', sha256: new Uint8Array(32), mode: 0o755 }]);
const IMAGE: ImageReference = {
  manifestDigest: `sha256:${'1a'.repeat(32)}`,
  configDigest: `sha256:${'2b'.repeat(32)}`,
  names: ['registry.example/app:1'],
  entrypoint: ['/app/run it'],
  command: ['serve'],
  environment: new Map([['A', '1=2']]),
  workingDir: '/app',
  user: '1:2',
  labels: new Map([['tier', 'a=b']]),
  entrypointPath: '/app/run_it',
  files,
};
const malformed = { code: 'appraisal.image.malformed' };

test('reference values survive the wire; a table is taken as it is', () => {
  const again = imageReferenceOf(imageReferenceMessage(IMAGE), files);
  assert.deepEqual({ ...again, files: undefined }, { ...IMAGE, files: undefined });
  assert.equal(again.files, files);
});

test('both digests are sha256: and 64 small hexadecimal digits', () => {
  const message = imageReferenceMessage(IMAGE);
  const good = IMAGE.manifestDigest;
  for (const digest of ['', good.slice(0, -1), `${good}0`, `x${good}`, good.toUpperCase(), good.replace('sha', 'SHA')])
    for (const name of ['manifestDigest', 'configDigest'])
      assert.throws(() => imageReferenceOf({ ...message, [name]: digest }, files), malformed, `${name} ${digest}`);
});

test('the entrypoint is one of the files, where the image names a program', () => {
  const message = imageReferenceMessage(IMAGE);
  assert.equal(imageReferenceOf({ ...message, entrypointPath: '' }, files).entrypointPath, '');
  assert.equal(imageReferenceOf({ ...message, entrypointPath: '/app/run it' }, files).entrypointPath, '/app/run_it');
  assert.throws(() => imageReferenceOf({ ...message, entrypointPath: '/app' }, files), malformed);
  for (const fileCount of [0n, 2n]) assert.throws(() => imageReferenceOf({ ...message, fileCount }, files), malformed);
});

test('a pair has its name before the first equals sign, which may be missing', () => {
  assert.deepEqual(
    [...pairs(['A', 'B=', '=C', 'D=1=2', 'E=1', 'E=2'])],
    [
      ['A', ''],
      ['B', ''],
      ['', 'C'],
      ['D', '1=2'],
      ['E', '2'],
    ],
  );
});
