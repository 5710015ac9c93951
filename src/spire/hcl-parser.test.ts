import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LacreError } from '../lacre-error.ts';
import { type HclValue, parseHcl } from './hcl-parser.ts';

function plain(value: HclValue): unknown {
  if (value.kind === 'scalar') return value.value;
  if (value.kind === 'list') return value.items.map(plain);
  return value.entries.map(({ key, value: child }) => [key, plain(child)]);
}

const parsed = (text: string) => plain(parseHcl('t', text));

test('keys, blocks, labels, lists and comments, as SPIRE prints and people write them', () => {
  const text = `# one
server = "127.0.0.1:8443" // two
/* three
 */
on = true
count = -12
rate = 1.5e3
mask = 0x10
list = ["a", "b",]
engine { podman = { storage = "/s", run = "/r" } }
WorkloadAttestor "lacre" { plugin_cmd = "/bin/l" }
"quoted key" = "v"`;
  assert.deepEqual(parsed(text), [
    ['server', '127.0.0.1:8443'],
    ['on', true],
    ['count', -12],
    ['rate', 1500],
    ['mask', 16],
    ['list', ['a', 'b']],
    [
      'engine',
      [
        [
          'podman',
          [
            ['storage', '/s'],
            ['run', '/r'],
          ],
        ],
      ],
    ],
    ['WorkloadAttestor', [['lacre', [['plugin_cmd', '/bin/l']]]]],
    ['quoted key', 'v'],
  ]);
});

test('JSON is the object that it says', () => {
  const value = { server: 'a:1', list: ['x', true, 2], engine: { podman: { run: 'ä"\\\n' } } };
  assert.deepEqual(parsed(JSON.stringify(value, null, 1)), [
    ['server', 'a:1'],
    ['list', ['x', true, 2]],
    ['engine', [['podman', [['run', 'ä"\\\n']]]]],
  ]);
  assert.deepEqual(parsed('{}'), []);
  assert.deepEqual(parsed(''), []);
});

test('strings: escapes, interpolation taken as it is, here-documents', () => {
  assert.deepEqual(parsed('a = "\\x41\\u00e9\\U0001F600\\101\\t"'), [['a', 'Aé😀A\t']]);
  const call = '$' + '{env("A")}';
  assert.deepEqual(parsed(`a = "x${call}y"`), [['a', `x${call}y`]]);
  assert.deepEqual(parsed('a = <<EOF\n one\n  two\nEOF\nb = 1'), [
    ['a', ' one\n  two\n'],
    ['b', 1],
  ]);
  assert.deepEqual(parsed('a = <<-EOF\n  one\n   two\n  EOF\n'), [['a', 'one\n two\n']]);
  assert.deepEqual(parsed('a = <<-EOF\n    one\n  EOF\n'), [['a', '  one\n']], "its last line's indent");
  assert.deepEqual(parsed('a = <<-EOF\n one\n  EOF\n'), [['a', ' one\n']], 'a line with less of it: none goes');
  assert.deepEqual(parsed('a = <<EOF\nEOF x\n  EOF\r\nb = 1'), [
    ['a', 'EOF x\n'],
    ['b', 1],
  ]);
  assert.throws(() => parsed('a = <<EOF\nEOF \n'), { code: 'spire.config.invalid' }, 'a blank behind the mark');
});

test('numbers as Go has them, and none that is not one', () => {
  assert.deepEqual(parsed('a = -0x10\nb = 0600\nc = -012\nd = 0\ne = 0.5\nf = -2e2'), [
    ['a', -16],
    ['b', 0o600],
    ['c', -10],
    ['d', 0],
    ['e', 0.5],
    ['f', -200],
  ]);
  for (const text of ['a = 1e999', 'a = 089', 'a = [-1e9999]'])
    assert.throws(() => parsed(text), { code: 'spire.config.invalid', message: /no number that can be held/ }, text);
});

test('no text is half of something: bytes beyond ASCII, surrogates, zero bytes', () => {
  assert.deepEqual(parsed('{"a": "\\ud83d\\ude00"}'), [['a', '😀']], 'a pair, as JSON has it');
  const halves = [
    '"\\ud83d"',
    '"\\ude00\\ud83d"',
    '"\\x80"',
    '"\\377"',
    '"\\777"',
    '"\\U00110000"',
    '"\\u0000"',
    '"\\000"',
  ];
  for (const half of [...halves, '"\0"', '"\ud800"', '<<E\n\0\nE\n', '1 # \0'])
    assert.throws(() => parsed(`a = ${half}`), { code: 'spire.config.invalid' }, JSON.stringify(half));
});

test('one long line, one long text, a here-document of empty lines: in time linear in their size', () => {
  const shapes: Readonly<Record<string, (size: number) => string>> = {
    string: (size) => `a = "${'x'.repeat(size)}"`,
    escapes: (size) => `a = "${'\\n'.repeat(size / 2)}"`,
    braces: (size) => `a = "${'${'.repeat(size / 4)}${'}'.repeat(size / 4)}"`,
    unclosed: (size) => `a = "${'${'.repeat(size / 2)}`,
    blanks: (size) => ' '.repeat(size),
    comments: (size) => '/**/'.repeat(size / 4),
    lines: (size) => `a = <<-E\n${'\n'.repeat(size)}E\n`,
    list: (size) => `a = [${'1,'.repeat(size / 64)}]${' '.repeat(size / 2)}`,
  };
  const cpuMs = (text: string) => {
    const before = process.cpuUsage();
    try {
      parseHcl('t', text);
    } catch (error) {
      assert.ok(error instanceof LacreError, String(error));
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  for (const [name, shape] of Object.entries(shapes)) {
    cpuMs(shape(1 << 16));
    const [small, large] = [cpuMs(shape(1 << 17)), cpuMs(shape((1 << 20) - 64))];
    assert.ok(large < 16 * small + 60, `${name}: ${small} ms for 128 KiB, ${large} ms for 1 MiB`);
  }
});

test('a fault says where it is', () => {
  const faults: readonly [string, string, RegExp][] = [
    ['a = ', '1:5', /the text ends where a value/],
    ['a = "x\nb = 1', '1:5', /not closed/],
    ['a = 1\n  b ! 2', '2:5', /"!" has no meaning/],
    ['a {', '1:4', /the text ends where a key/],
    ['a = [1 2]', '1:8', /"," or "]"/],
    ['a = "\\q"', '1:6', /escape/],
    ['/* x', '1:1', /comment/],
    ['a = <<EOF\nx', '1:5', /not closed/],
    ['a = b', '1:5', /"b" stands where a value/],
    ['a "b" = 1', '1:3', /label/],
    ['}', '1:1', /key/],
    ['{} x', '1:4', /end of the text/],
    [`a = ${'['.repeat(40)}`, '1:37', /deeper/],
  ];
  for (const [text, place, message] of faults) {
    assert.throws(
      () => parseHcl('file', text),
      (error) => {
        assert.ok(error instanceof LacreError && error.code === 'spire.config.invalid', text);
        assert.ok(error.message.startsWith(`file:${place}: `), `${text}: ${error.message}`);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});

test('size is bounded', () => {
  assert.throws(() => parseHcl('t', ' '.repeat(1024 * 1024 + 1)), { code: 'spire.config.invalid' });
  assert.throws(() => parseHcl('t', `a = [${'1,'.repeat(30_000)}]`), { code: 'spire.config.invalid' });
});

test('whatever the bytes, the end is a tree or a fault with a place', () => {
  const pieces = fc.constantFrom(
    'a',
    '=',
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    '${',
    '<<E\n',
    'E\n',
    ',',
    ':',
    '1',
    '#',
    '/*',
    '*/',
    '\n',
    'é',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
      try {
        parseHcl('t', parts.join(''));
      } catch (error) {
        assert.ok(error instanceof LacreError, String(error));
        assert.match(error.message, /^t:\d+:\d+: /);
      }
    }),
    { numRuns: 2000 },
  );
});

test('every JSON text without null is read as JSON reads it', () => {
  const scalar = fc.oneof(fc.string(), fc.boolean(), fc.integer());
  const tree = fc.dictionary(
    fc.string({ minLength: 1 }),
    fc.oneof(scalar, fc.array(scalar), fc.dictionary(fc.string(), scalar)),
  );
  const asEntries = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(asEntries);
    return typeof value === 'object' && value !== null
      ? Object.entries(value).map(([k, v]) => [k, asEntries(v)])
      : value;
  };
  fc.assert(
    fc.property(tree, (value) => {
      const text = JSON.stringify(value);
      // HCL takes ${…} as a whole; JSON does not.
      if (/\$\{/.test(text)) return;
      assert.deepEqual(parsed(text), asEntries(JSON.parse(text)));
    }),
  );
});
