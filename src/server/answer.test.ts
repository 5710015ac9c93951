import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { pino } from 'pino';
import type { AttestResponse } from '../proto/lacre/v1/node_pb.ts';
import { deliver, type PreparedAnswer } from './answer.ts';
import type { SessionContext } from './session-context.ts';
import { Subscriptions } from './session-subscriptions.ts';

const COUNT = 70;

/** A session as far as answers are sent on it; `sent` is told of each message. */
function contextOf(sent: (message: AttestResponse) => void) {
  const outbox = { ended: false, push: sent };
  const subscriptions = new Subscriptions();
  const context = {
    outbox,
    subscriptions,
    evidence: { time: new Date(), steadyMs: performance.now() },
    told: new Map(),
    node: { spiffeId: 'spiffe://lacre.test/spire/agent/lacre_tpm/1' },
    state: { containerName: () => 'app', keptRecord: (record: unknown) => record },
    deps: { log: pino({ level: 'silent' }), events: new EventEmitter(), clock: { now: () => new Date() } },
  } as unknown as SessionContext;
  return { context, outbox, subscriptions };
}

const answers = Array.from({ length: COUNT }, (_, at) => ({
  request: { id: BigInt(at), kind: 4, leaf: Uint8Array.of(at), record: { claim: { containerId: 'c' } } },
  containerId: 'c',
  verdict: undefined,
  outcome: { case: 'identities', identities: [] },
})) as unknown as PreparedAnswer[];

test('answers leave a message in each turn, each to be confirmed from the next nonce on as it then is', async () => {
  const counts: number[] = [];
  const { context, subscriptions } = contextOf(({ message }) => {
    assert.ok(message.case === 'answers');
    counts.push(message.value.answers.length);
  });
  let nonce = 0;
  const delivered = deliver(context, answers, () => nonce++);
  assert.deepEqual(counts, [32]);
  await delivered;
  assert.deepEqual(counts, [32, 32, 6]);
  const confirmedBy = (id: number) => subscriptions.get(BigInt(id))?.confirmByNonce;
  assert.deepEqual([0, 31, 32, 63, 64, 69].map(confirmedBy), [0, 0, 1, 1, 2, 2]);
});

test('once the session has ended nothing more leaves', async () => {
  let messages = 0;
  const { context, outbox, subscriptions } = contextOf(() => {
    messages += 1;
  });
  const delivered = deliver(context, answers, () => undefined);
  outbox.ended = true;
  await assert.rejects(delivered, { code: 'server.store.fenced' });
  assert.deepEqual([messages, subscriptions.all().length], [1, 32]);
});
