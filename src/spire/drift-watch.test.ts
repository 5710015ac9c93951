import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { SessionLink } from '../agent/session-link.ts';
import { RefusalSchema, WithdrawalSchema } from '../proto/lacre/v1/node_pb.ts';
import { DriftWatch } from './drift-watch.ts';
import { openPluginLog } from './plugin-log.ts';
import type { RefusedWorkload, TrustedWorkload } from './workload-verdict.ts';

const ID = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);
const refusal = create(RefusalSchema, {
  sentence: 'the container drifted',
  verdict: { findings: [{ fatal: true, subject: ID }] },
});
const refused: RefusedWorkload = { containerId: ID, refusal };
const trusted = (containerId: string): TrustedWorkload => ({
  containerId,
  selectors: [],
  evidenceAgeMs: 0,
  session: { release: () => undefined } as unknown as TrustedWorkload['session'],
  id: 1n,
});

function watch(running = [ID, OTHER]) {
  const link = new SessionLink({ bundle: () => undefined, verdict: () => undefined });
  const seen: string[] = [];
  const drift = new DriftWatch({
    link,
    log: openPluginLog(() => undefined),
    running: () => running,
    judge: async (id) => {
      seen.push(`judge ${id.slice(0, 2)}`);
      return id === ID ? refused : trusted(id);
    },
    stop: async (id) => {
      seen.push(`stop ${id.slice(0, 2)}`);
    },
  });
  return { link, drift, seen, withdraw: (containerId: string) => link.withdrawn(withdrawalOf(containerId)) };
}

const withdrawalOf = (containerId: string) => create(WithdrawalSchema, { containerId, refusal });

test('a verdict that falls before it is held: the container is judged anew, and stopped', async () => {
  const { drift, seen, withdraw } = watch();
  drift.expect(ID);
  withdraw(ID);
  drift.hold(trusted(ID));
  await delay(5);
  assert.deepEqual(seen, ['judge ab', 'stop ab']);
});

test('the same of one that is trusted still: it is judged anew, and lives', async () => {
  const { drift, seen, withdraw } = watch();
  drift.expect(OTHER);
  withdraw(OTHER);
  drift.hold(trusted(OTHER));
  await delay(5);
  assert.deepEqual(seen, ['judge cd']);
});

test('a container that SPIRE got no selectors for is never stopped', async () => {
  const { link, drift, seen, withdraw } = watch();
  drift.expect(ID);
  withdraw(ID);
  link.entriesChanged();
  await delay(5);
  assert.deepEqual(seen, []);
});

test('containers that ended are forgotten when another is asked for, but no more than once a second', async () => {
  const running = [ID];
  const { link, drift } = watch(running);
  drift.expect(ID);
  running.splice(0, 1, OTHER);
  drift.expect(OTHER);
  assert.equal(drift.size, 2);
  await delay(1_050);
  drift.expect(OTHER);
  assert.equal(drift.size, 1);
  assert.equal(link.subscriberCount, 1);
});
