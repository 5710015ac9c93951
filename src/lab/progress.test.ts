import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Progress } from './progress.ts';

test('a step that is done in several boots counts with the time of all', async () => {
  const said: string[] = [];
  const progress = new Progress((text) => said.push(text));
  for (let boot = 0; boot < 3; boot++) await progress.step('boot', 'booting', () => delay(40));
  const { boot = 0, total = 0 } = progress.timings();
  assert.ok(boot >= 3 * 39, `${boot} ms`);
  assert.ok(total >= boot - 3, `${total} ms in total, ${boot} ms of it the step`);
  assert.deepEqual(
    said.map((line) => line.replace(/^\[ *[\d.]+ s\] /, '')),
    ['booting\n', 'booting\n', 'booting\n'],
  );
});
