import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SessionTicker } from './session-ticker.ts';

test('each is looked at once a period, from its start to its end', ({ mock }) => {
  mock.timers.enable({ apis: ['setInterval'] });
  const ticker = new SessionTicker(500);
  const seen = Array.from({ length: 12 }, () => 0);
  const ends = seen.map((_, at) =>
    ticker.add(() => {
      seen[at] = (seen[at] ?? 0) + 1;
    }),
  );
  mock.timers.tick(500);
  assert.deepEqual(seen, Array(12).fill(1));
  mock.timers.tick(1000);
  assert.deepEqual(seen, Array(12).fill(3));
  for (const end of ends.slice(1)) end();
  mock.timers.tick(500);
  assert.deepEqual(seen, [4, ...Array(11).fill(3)]);
  ends[0]?.();
  ends[0]?.();
  mock.timers.tick(5000);
  assert.deepEqual(seen, [4, ...Array(11).fill(3)]);
  const end = ticker.add(() => {
    seen[0] = 100;
  });
  mock.timers.tick(500);
  assert.equal(seen[0], 100, 'it begins anew after it had nobody');
  end();
});

test('who ends another while it is looked after does no harm', ({ mock }) => {
  mock.timers.enable({ apis: ['setInterval'] });
  const ticker = new SessionTicker(500);
  const ends = Array.from({ length: 10 }, () => ticker.add(() => void ends.splice(0).map((end) => end())));
  mock.timers.tick(2000);
  assert.deepEqual(ends, []);
});
