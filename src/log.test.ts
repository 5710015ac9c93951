import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLog } from './log.ts';

function lines(format: 'json' | 'text', write: (log: ReturnType<typeof openLog>) => void, level = 'info'): string[] {
  const written: string[] = [];
  write(openLog({ level, format }, (line) => written.push(line)));
  return written;
}

test('text is one line an event, also where a value holds line ends and control characters', () => {
  const [line, ...more] = lines('text', (log) =>
    log.warn({ node: 'a\nb\u001b[31m', count: 3, path: '/bin/x' }, 'first\r\nforged'),
  );
  assert.deepEqual(more, []);
  assert.match(
    line ?? '',
    /^\d\d:\d\d:\d\d\.\d{3} warn {2}first\\x0d\\x0aforged node="a\\nb\\u001b\[31m" count=3 path=\/bin\/x\n$/,
  );
});

test('json is one object a line', () => {
  const [line] = lines('json', (log) => log.info({ node: 'a' }, 'said'));
  const { msg, node, level } = JSON.parse(line ?? '') as Record<string, unknown>;
  assert.deepEqual([msg, node, level], ['said', 'a', 30]);
});

test('levels below the chosen one are not written', () => {
  assert.equal(lines('text', (log) => log.debug('x')).length, 0);
  assert.equal(lines('text', (log) => log.debug('x'), 'debug').length, 1);
  assert.equal(lines('text', (log) => log.error('x'), 'silent').length, 0);
});

test('an error is told with its message and where it came from', () => {
  const [line] = lines('text', (log) => log.error({ err: new Error('broken pipe') }, 'failed'));
  assert.match(line ?? '', /error {2}failed|error failed/);
  assert.match(line ?? '', /error="broken pipe"/);
  assert.match(line ?? '', /log\.test\.ts/);
});
