import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkReferencePath, listSpelling, MAX_PATH_BYTES } from './reference-path.ts';

const malformed = { code: 'appraisal.files.malformed' };

test('a path is absolute and plain, each of its bytes four characters long at most', () => {
  assert.equal(MAX_PATH_BYTES, 4096);
  for (const good of ['/a', '/a/b', '/...', '/.a', '/a.', '/..a', `/${'a'.repeat(4 * 4096 - 2)}`])
    checkReferencePath(good);
  for (const bad of ['', 'a', 'a/b', '/', '//', '/a/', '//a', '/a//b', '/.', '/./a', '/a/.', '/..', '/../a', '/a/..'])
    assert.throws(() => checkReferencePath(bad), malformed, bad);
  for (const bad of ['/a\0', '/\0a', `/${'a'.repeat(4 * 4096 - 1)}`])
    assert.throws(() => checkReferencePath(bad), malformed);
});

test('the list has an underscore for a space, and every byte of what cannot be printed', () => {
  for (const [path, spelled] of [
    ['', ''],
    ['/a_b~!', '/a_b~!'],
    ['/a b c', '/a_b_c'],
    [' ', '_'],
    ['/a\tb\n', '/a\\x09b\\x0a'],
    ['/\x01\x7f\x85', '/\\x01\\x7f\\xc2\\x85'],
    ['/a\u2028\u2029', '/a\\xe2\\x80\\xa8\\xe2\\x80\\xa9'],
    ['/caf\u00e9\u00a0', '/caf\u00e9\u00a0'],
    ['\u00e9/a b', '\u00e9/a_b'],
  ] as const) {
    assert.equal(listSpelling(path), spelled, JSON.stringify(path));
    assert.equal(listSpelling(spelled), spelled);
  }
});
