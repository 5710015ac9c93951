import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { countOf, listOf, objectOf, parseJson, parseJsonObject, textOf, textsOf } from './json-value.ts';

/** What a reader gives, or the code and the name that its refusal carries. */
function outcome(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    assert.ok(isLacreError(error, 'container.proc.malformed'), String(error));
    return error.message.startsWith('the thing is no') ? 'malformed' : error.message;
  }
}

test('each reader takes its own kind, and says what is another', () => {
  const values = [undefined, null, false, 0, 7, '', 'a', [], ['a'], ['a', 1], {}];
  const rows: [string, (what: string, value: unknown) => unknown, unknown[]][] = [
    ['a text', textOf, ['', '', 'no', 'no', 'no', '', 'a', 'no', 'no', 'no', 'no']],
    ['a whole number', countOf, [0, 0, 'no', 0, 7, 'no', 'no', 'no', 'no', 'no', 'no']],
    ['a list', listOf, [[], [], 'no', 'no', 'no', 'no', 'no', [], ['a'], ['a', 1], 'no']],
    ['texts', textsOf, [[], [], 'no', 'no', 'no', 'no', 'no', [], ['a'], 'no', 'no']],
    ['an object', objectOf, ['no', 'no', 'no', 'no', 'no', 'no', 'no', 'no', 'no', 'no', {}]],
  ];
  for (const [kind, read, expected] of rows)
    for (const [index, value] of values.entries()) {
      const found = outcome(() => read('the thing', value));
      assert.deepEqual(found, expected[index] === 'no' ? 'malformed' : expected[index], `${kind}: ${String(value)}`);
    }
});

test('a count is a whole number that JSON carries exactly, from 0 on', () => {
  assert.equal(countOf('x', Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  for (const value of [-1, 0.5, 2 ** 53, Number.NaN])
    assert.throws(() => countOf('x', value), { code: 'container.proc.malformed' }, String(value));
});

test('texts of an engine are JSON, and an object where one is asked for', () => {
  assert.deepEqual(parseJson('x', '[1]'), [1]);
  assert.deepEqual(parseJsonObject('x', '{"a":1}'), { a: 1 });
  for (const text of ['', '{', '[1] x'])
    assert.throws(() => parseJson('the answer', text), { code: 'container.proc.malformed', message: /^the answer / });
  assert.throws(() => parseJsonObject('the answer', '[1]'), {
    code: 'container.proc.malformed',
    message: /^the answer /,
  });
});
