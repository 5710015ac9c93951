import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LacreError } from '../lacre-error.ts';
import { openPluginLog } from './plugin-log.ts';

test('a line has hclog’s three fields, and every field is a string', () => {
  const lines: string[] = [];
  const log = openPluginLog((line) => lines.push(line));
  log.warn({ pid: 12, list: [1], big: { a: true }, '@message': 'forged', timestamp: 1 }, 'a\nsentence');
  log.error({ err: new LacreError('agent.tpm.busy', 'the TPM is busy') }, 'a fault');
  log.info({ err: new TypeError('oops') }, '');
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const line of lines) assert.equal(line.indexOf('\n'), line.length - 1, 'one event, one line');
  for (const fields of parsed) {
    for (const [name, value] of Object.entries(fields)) assert.equal(typeof value, 'string', name);
    assert.match(String(fields['@timestamp']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  }
  assert.equal(parsed[0]?.['@level'], 'warn');
  assert.equal(parsed[0]?.['@message'], 'a\nsentence');
  assert.equal(parsed[0]?.['pid'], '12');
  assert.equal(parsed[1]?.['err'], 'the TPM is busy (agent.tpm.busy)');
  assert.equal(parsed[2]?.['err'], 'TypeError: oops');
});
