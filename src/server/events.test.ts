import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { tell, Watcher } from './events.ts';
import { ServerEvents, SYSTEM_CLOCK } from './server-deps.ts';

function deps() {
  return { events: new ServerEvents(), log: pino({ level: 'silent' }), clock: SYSTEM_CLOCK };
}

test('a watcher sees what is told from then on, until it is ended', async () => {
  const server = deps();
  const stop = new AbortController();
  tell(server, { kind: 'node', sentence: 'before' });
  const watcher = new Watcher(server.events, stop.signal);
  tell(server, { kind: 'issued', spiffeId: 'spiffe://td/a', sentence: 'one' });
  tell(server, { kind: 'withdrawn', containerId: 'c', sentence: 'two' });
  setImmediate(() => stop.abort());
  const seen: string[] = [];
  for await (const event of watcher) seen.push(`${event.kind} ${event.sentence}`);
  assert.deepEqual(seen, ['issued one', 'withdrawn two']);
  assert.equal(server.events.listenerCount('told'), 0);
});

test('a watcher that reads too slowly is dropped, and keeps nobody else', async () => {
  const server = deps();
  const slow = new Watcher(server.events, new AbortController().signal, 2);
  for (const sentence of ['1', '2', '3', '4']) tell(server, { kind: 'node', sentence });
  assert.equal(slow.overrun, true);
  assert.equal(server.events.listenerCount('told'), 0);
  const seen: string[] = [];
  for await (const event of slow) seen.push(event.sentence);
  assert.deepEqual(seen, ['1', '2']);
});
