import assert from 'node:assert/strict';
import type { ServerHttp2Session } from 'node:http2';
import { beforeEach, mock, test } from 'node:test';
import { KeepAliveSweep } from './http2-keep-alive.ts';

/** A session that answers pings, or does not. */
class PingedSession {
  destroyed = false;
  pings = 0;
  answers = true;

  ping(answered: (error: Error | null) => void): void {
    this.pings += 1;
    if (this.answers) answered(null);
  }

  destroy(): void {
    this.destroyed = true;
  }
}

const LIMITS = { pingMs: 180_000, idleMs: 60_000 };
let nowMs = 0;

beforeEach(() => {
  mock.restoreAll();
  mock.timers.reset();
  mock.timers.enable({ apis: ['setInterval'] });
  mock.method(performance, 'now', () => nowMs);
});

function pass(seconds: number): void {
  for (let second = 0; second < seconds; second += 1) {
    nowMs += 1000;
    mock.timers.tick(1000);
  }
}

function add(sweep: KeepAliveSweep): { session: PingedSession; kept: ReturnType<KeepAliveSweep['add']> } {
  const session = new PingedSession();
  return { session, kept: sweep.add(session as unknown as ServerHttp2Session) };
}

test('a connection without a stream ends after its time, and one with a stream does not', () => {
  const sweep = new KeepAliveSweep(LIMITS);
  const [idle, used] = [add(sweep), add(sweep)];
  used.kept.streamOpened();
  pass(59);
  assert.equal(idle.session.destroyed, false);
  pass(61);
  assert.equal(idle.session.destroyed, true);
  used.kept.streamClosed();
  pass(59);
  assert.equal(used.session.destroyed, false);
  pass(61);
  assert.equal(used.session.destroyed, true);
});

test('a peer is asked once in its time, and ends where it does not answer', () => {
  const sweep = new KeepAliveSweep(LIMITS);
  const [there, gone] = [add(sweep), add(sweep)];
  for (const { kept } of [there, gone]) kept.streamOpened();
  gone.session.answers = false;
  pass(179);
  assert.deepEqual([there.session.pings, gone.session.pings], [0, 0]);
  pass(16);
  assert.deepEqual([there.session.pings, gone.session.pings], [1, 1]);
  pass(180);
  assert.equal(gone.session.destroyed, true);
  assert.equal(there.session.destroyed, false);
  assert.equal(there.session.pings, 2);
});

test('one that was removed is asked no more', () => {
  const sweep = new KeepAliveSweep(LIMITS);
  const { session, kept } = add(sweep);
  kept.streamOpened();
  sweep.remove(kept);
  pass(400);
  assert.equal(session.pings, 0);
  assert.equal(session.destroyed, false);
});
