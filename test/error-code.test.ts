import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generatedPages } from '../scripts/pages.ts';
import { ERROR_CODES, type ErrorCode } from '../src/error-code.ts';
import { isLacreError, LacreError } from '../src/lacre-error.ts';
import { LAYERS } from '../src/layers.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const codes = Object.keys(ERROR_CODES) as ErrorCode[];

function sources(folder: string): { path: string; text: string }[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('proto'))
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(root, folder, name), 'utf8') }));
}

const all = [...sources('src'), ...sources('test')];
const isTest = (path: string) => path.startsWith('test') || path.endsWith('.test.ts');
const product = all.filter(({ path }) => !isTest(path) && path !== join('src', 'error-code.ts'));
/** A vector names the code that it is refused with. */
const vectors = readdirSync(join(root, 'vectors'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ path: join('vectors', name), text: readFileSync(join(root, 'vectors', name), 'utf8') }));
const tests = [...vectors, ...all.filter(({ path }) => isTest(path) && path !== join('test', 'error-code.test.ts'))];

/** Codes that no text of these files holds as a literal. */
function missingFrom(files: readonly { text: string }[]): string[] {
  return codes.filter((code) => !files.some(({ text }) => text.includes(`'${code}'`) || text.includes(`"${code}"`)));
}

test('every code is thrown somewhere', () => {
  assert.deepEqual(missingFrom(product), []);
});

test('every code is named by some test', () => {
  assert.deepEqual(missingFrom(tests), []);
});

test("a code begins with its layer's name, and a layer throws codes of its own and of layers below", () => {
  const order = ['bytes', ...LAYERS.map(({ name }) => name)];
  for (const code of codes) assert.ok(order.includes(code.slice(0, code.indexOf('.'))), code);
  const thrown = /new LacreError\(\s*'([a-z-]+)\./g;
  const wrong = product.flatMap(({ path, text }) => {
    const layer = path.split('/')[1] ?? '';
    if (!order.includes(layer)) return [];
    return [...text.matchAll(thrown)]
      .filter(([, owner = '']) => order.indexOf(owner) > order.indexOf(layer))
      .map(([, owner]) => `${path} throws ${owner}.*`);
  });
  assert.deepEqual(wrong, []);
});

test('no two codes mean the same', () => {
  const meanings = codes.map((code) => ERROR_CODES[code].meaning);
  assert.deepEqual(
    meanings.filter((meaning, index) => meanings.indexOf(meaning) !== index),
    [],
  );
});

test('an error carries its code, link, statuses and details', () => {
  const cause = new Error('below');
  const error = new LacreError('tpm.quote.signature', 'not by this key', { akName: 'x' }, { cause });
  assert.deepEqual(
    [error.link, error.grpcStatus, error.exitCode, error.message, error.details, error.cause],
    ['tpm', 'PERMISSION_DENIED', 3, 'not by this key', { akName: 'x' }, cause],
  );
  assert.ok(isLacreError(error) && isLacreError(error, 'bytes.hex', 'tpm.quote.signature'));
  assert.ok(!isLacreError(error, 'bytes.hex') && !isLacreError(cause));
});

test('docs/errors.md lists the codes as they are', () => {
  const page = generatedPages().get('docs/errors.md');
  assert.equal(readFileSync(join(root, 'docs/errors.md'), 'utf8'), page, 'run npm run generate');
});
