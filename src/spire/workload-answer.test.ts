import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import type { NodeParts } from '../agent/agent-parts.ts';
import { SessionLink, type WorkloadSession } from '../agent/session-link.ts';
import {
  type Identities,
  IdentitiesSchema,
  type Refusal,
  RefusalSchema,
  WithdrawalSchema,
} from '../proto/lacre/v1/node_pb.ts';
import { DriftWatch } from './drift-watch.ts';
import { openPluginLog } from './plugin-log.ts';
import { WorkloadAnswer } from './workload-answer.ts';
import { judgePid, type VerdictDeps } from './workload-verdict.ts';

const ID = 'ab'.repeat(32);
const PID = 4242;
const identities = create(IdentitiesSchema, {
  selectors: [
    'lacre:attribution:exact',
    'lacre:caller:init',
    'lacre:config:image',
    'lacre:coverage:exec',
    'lacre:host:standard',
    'lacre:root:software',
  ],
});
const EXPECTED = [
  'attribution:exact',
  'attribution:shared',
  'caller:init',
  'config:changed',
  'config:image',
  'coverage:exec',
  'host:open',
  'host:standard',
  'root:software',
];
const refusal = create(RefusalSchema, {
  code: 'appraisal.file.unknown',
  sentence: 'the container drifted',
  verdict: { findings: [{ fatal: true, subject: ID }] },
});

type Outcome =
  | { readonly case: 'identities'; readonly value: Identities }
  | { readonly case: 'refusal'; readonly value: Refusal };

/** A session that answers what it is told to; the process is there, and in container ID. */
function attestor(outcomes: Outcome[], answered: (link: SessionLink) => void = () => undefined) {
  const log: string[] = [];
  const seen: string[] = [];
  const logger = openPluginLog((line) => log.push(line));
  const link = new SessionLink({ bundle: () => undefined, verdict: () => undefined });
  let id = 0n;
  const session = {
    opened: { quoteIntervalMs: 15_000, bundle: [new Uint8Array(1)] },
    release: (released: bigint) => seen.push(`release ${released}`),
    ask: async () => {
      id += 1n;
      seen.push(`ask ${id}`);
      const outcome = outcomes.shift() ?? { case: 'refusal', value: refusal };
      const answer = { id, outcome: Promise.resolve(outcome) };
      // In one message with the answer, or before whoever waits for it comes to run.
      answered(link);
      return answer;
    },
  };
  link.attach(session as unknown as WorkloadSession);
  const process = {
    record: async () => ({ bytes: new Uint8Array(1), containerId: ID, containerSha256Hex: '00' }),
    requireAlive: () => undefined,
    close: () => undefined,
  };
  const parts = { pinPid: () => process } as unknown as Pick<NodeParts, 'pinPid'>;
  const judging: VerdictDeps = { link, parts, maxEvidenceAgeMs: 30_000, log: logger };
  const drift = new DriftWatch({
    link,
    log: logger,
    running: () => [ID],
    judge: () => judgePid(judging, PID),
    stop: async (container) => void seen.push(`stop ${container.slice(0, 2)}`),
  });
  return { answer: new WorkloadAnswer({ judging, drift, require: [], log: logger }), drift, seen, log };
}

test('a verdict that falls together with its answer: the container is judged anew, and stopped', async () => {
  let withdrawn = false;
  const { answer, seen, drift } = attestor([{ case: 'identities', value: identities }], (link) => {
    if (withdrawn) return;
    withdrawn = true;
    link.withdrawn(create(WithdrawalSchema, { containerId: ID, refusal }));
  });
  assert.deepEqual(await answer.of(PID), EXPECTED);
  await delay(5);
  assert.deepEqual(seen, ['ask 1', 'ask 2', 'stop ab']);
  drift.close();
});

test('one that does not fall is asked for once', async () => {
  const { answer, seen, drift } = attestor([{ case: 'identities', value: identities }]);
  assert.equal((await answer.of(PID)).length, EXPECTED.length);
  await delay(5);
  assert.deepEqual(seen, ['ask 1'], 'nothing fell, so nobody asks again');
  drift.close();
});

test('a refusal: no selectors, and told of once a minute', async () => {
  const { answer, log, seen, drift } = attestor([]);
  for (let tries = 0; tries < 3; tries += 1) assert.deepEqual(await answer.of(PID), []);
  assert.equal(log.filter((line) => line.includes('no selectors for process 4242: the container drifted')).length, 1);
  assert.ok(log.some((line) => line.includes('spire.workload.refused')));
  assert.deepEqual(seen, ['ask 1', 'ask 2', 'ask 3'], 'a container that never was trusted is not stopped');
  drift.close();
});

test('pids that no process can have, and spire-agent itself', async () => {
  const { answer, seen, drift } = attestor([]);
  for (const pid of [0, -1, 1.5]) await assert.rejects(answer.of(pid), { code: 'spire.workload.pid' });
  assert.deepEqual(await answer.of(process.ppid), []);
  assert.deepEqual(seen, []);
  drift.close();
});
