import assert from 'node:assert/strict';
import { test } from 'node:test';
import { evmSigFields, templateData } from '../../test/simulator/hostile-entry.ts';
import { isLacreError } from '../lacre-error.ts';
import { isPlainDigest, readFileDigest, TEMPLATES, TemplateFields } from './template.ts';

const BEFORE = 5;
const bytes = (length: number) => new Uint8Array(length).fill(7);
const field = (text: string, digest: Uint8Array = bytes(0)) => Buffer.concat([Buffer.from(text, 'latin1'), digest]);

/** What a digest field between other bytes is taken for; `plain`: by the shorter way too. */
function stateOf(template: string, digest: Buffer, after = ''): string {
  const buffer = Buffer.concat([Buffer.alloc(BEFORE, 1), digest, Buffer.from(after, 'latin1')]);
  const span = { start: BEFORE, end: BEFORE + digest.length };
  const plain = isPlainDigest(buffer, span, template) ? ' plain' : '';
  try {
    const { digestState, fileDigest } = readFileDigest(buffer, span, template, 0);
    return `${digestState}${fileDigest === undefined ? '' : ` ${fileDigest.algorithm}`}${plain}`;
  } catch (error) {
    return `${isLacreError(error) ? error.code : error}${plain}`;
  }
}

const MALFORMED = 'ima.entry.malformed';
for (const [algorithm, size] of [['sha256', 32] as const, ['sha384', 48] as const, ['sha512', 64] as const]) {
  test(`a ${algorithm} digest has just its name and ${size} bytes, not all zero`, () => {
    const prefix = `${algorithm}:\0`;
    const usable = `usable ${algorithm}`;
    const plain = algorithm === 'sha256' ? `${usable} plain` : usable;
    assert.equal(stateOf('ima-ng', field(prefix, bytes(size))), plain);
    assert.equal(stateOf('ima-ngv2', field(`ima:${prefix}`, bytes(size))), usable);
    for (const length of [0, 1, 20, size - 1, size + 1])
      assert.equal(stateOf('ima-ng', field(prefix, bytes(length)), 'x'.repeat(64)), MALFORMED, `${length} bytes`);
    for (const template of ['ima-ng', 'ima-ngv2']) {
      const text = `${template === 'ima-ng' ? '' : 'ima:'}${prefix}`;
      assert.equal(stateOf(template, field(text, new Uint8Array(size))), 'zero');
      for (const at of [0, size - 1])
        assert.ok(stateOf(template, field(text, new Uint8Array(size).with(at, 1))).startsWith(usable));
    }
    for (let at = 0; at < prefix.length; at++) {
      const other = field(prefix, bytes(size));
      other[at] = (other[at] ?? 0) ^ 0x20;
      assert.ok(!/usable|plain/.test(stateOf('ima-ng', other)), `another byte ${at}`);
    }
  });
}

const foreign: readonly (readonly [string, string, Buffer, string, string])[] = [
  ['sha1', 'ima-ng', field('sha1:\0', bytes(20)), '', 'refused'],
  ['zero', 'ima-ng', field('sha1:\0', new Uint8Array(20)), 'x', 'zero'],
  ['zero but for its first byte', 'ima-ng', field('sha1:\0', new Uint8Array(20).with(0, 1)), '', 'refused'],
  ['zero but for its last byte', 'ima-ng', field('sha1:\0', new Uint8Array(20).with(19, 1)), '', 'refused'],
  ['a name of one letter', 'ima-ng', field('x:\0', bytes(20)), '', 'refused'],
  ['a name of 30 letters', 'ima-ng', field(`${'x'.repeat(30)}:\0`, bytes(20)), '', 'refused'],
  ['a name of 31 letters', 'ima-ng', field(`${'x'.repeat(31)}:\0`, bytes(20)), '', MALFORMED],
  ['a name with a colon', 'ima-ng', field('ima:sha1:\0', bytes(20)), '', MALFORMED],
  ['a name that begins with one', 'ima-ng', field('::\0', bytes(20)), '', MALFORMED],
  ['a name that ends behind the field', 'ima-ng', field('sha1'), ':\0', MALFORMED],
  ['nothing', 'ima-ng', field(''), 'sha1:\0', MALFORMED],
  ['no type', 'ima-ngv2', field('sha256:\0', bytes(32)), '', MALFORMED],
  ['no type, in the template with signatures', 'ima-sigv2', field('sha256:\0', bytes(32)), '', MALFORMED],
  ['a tree of fs-verity', 'ima-sigv2', field('verity:sha256:\0', bytes(32)), '', 'refused'],
  ['a type that ends behind the field', 'ima-ngv2', field('verity'), ':sha256:\0', MALFORMED],
  ['a type alone', 'ima-ngv2', field('ima:'), 'sha1:\0', MALFORMED],
];
for (const [name, template, digest, after, state] of foreign) {
  test(`a digest field of ${name} is ${state}`, () => assert.equal(stateOf(template, digest, after), state));
}

test('digest and name come first in every template: a file is known by both in a row', () => {
  assert.equal(TEMPLATES.size, 7);
  for (const fields of TEMPLATES.values())
    assert.deepEqual(fields.slice(0, 2), [fields[0] === 'd-ngv2' ? 'd-ngv2' : 'd-ng', 'n-ng']);
});

const fields = new TemplateFields();
const read = (template: string, rest: Uint8Array[]) => {
  const data = Buffer.from(templateData({ template, rest }));
  fields.read(data, 0, data.length, template, 0);
  return [fields.hasBuffer, fields.iuid, fields.igid, fields.imode];
};

test('an entry has neither owner nor buffer of the one before', () => {
  assert.deepEqual(read('evm-sig', evmSigFields(1, 2, 3)), [false, 1, 2, 3]);
  assert.deepEqual(read('ima-buf', [bytes(3)]), [true, undefined, undefined, undefined]);
  assert.deepEqual(read('ima-ng', []), [false, undefined, undefined, undefined]);
});

test('owner and mode have their size, or are absent', () => {
  const evmSig = (at: number, length: number) => read('evm-sig', evmSigFields(1, 2, 3).with(at, bytes(length)));
  for (const [at, size] of [[4, 4] as const, [5, 4] as const, [6, 2] as const]) {
    const absent = [false, 1, 2, 3].with(at - 3, undefined as never);
    assert.deepEqual(evmSig(at, 0), absent);
    for (const length of [1, size - 1, size + 1])
      assert.throws(() => evmSig(at, length), { code: MALFORMED }, `${length} bytes`);
  }
});
