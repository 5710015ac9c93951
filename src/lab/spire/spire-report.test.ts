import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { NodeInfoSchema, WorkloadInfoSchema } from '../../proto/lacre/v1/admin_pb.ts';
import { FindingSchema, VerdictSchema } from '../../proto/lacre/v1/verdict_pb.ts';
import { IMAGE_NAMES } from '../image/demo-image.ts';
import type { ServiceLine } from '../lab-node.ts';
import type { ContainerName } from '../scenario.ts';
import { type SpireRun, spireReport, unexpectedOfSpire } from './spire-report.ts';
import type { SpireDrift, SpireObservation } from './spire-scenario.ts';

const id = (name: string) => `spiffe://lacre.lab/${name}`;
const AGENT = id('spire/agent/lacre_tpm/x');
const CHANGED = { code: 'appraisal.file.unexpected', path: '/bin/service', expectedSha256: ['aa'], seenSha256: 'bb' };

function workload(name: string, findings: MessageInitShape<typeof FindingSchema>[] = []) {
  const verdict = create(VerdictSchema, {
    trusted: findings.length === 0,
    findings: findings.map((finding) => create(FindingSchema, { fatal: true, logIndex: -1n, ...finding })),
  });
  return create(WorkloadInfoSchema, { containerName: name, attribution: 'exact', verdict });
}

function served(name: string, other: string): ServiceLine[] {
  return [
    { timeUnixMs: 10, event: 'identity', spiffeId: id(name) },
    { timeUnixMs: 11, event: 'peer', spiffeId: id(other), sawUsAs: id(name) },
  ];
}

const refused: ServiceLine[] = [{ timeUnixMs: 9, event: 'refused', grpcStatus: '7' }];
const running = { status: 'running', endedAtUnixMs: 0 };

interface Changes {
  readonly refusals?: [ContainerName, string][];
  readonly states?: SpireDrift['states'];
  readonly noticedAtUnixMs?: number | undefined;
  readonly agents?: SpireRun['agents'];
}

const STATES = new Map<ContainerName, { status: string; endedAtUnixMs: number }>([
  ['orders', { status: 'exited', endedAtUnixMs: 1_900 }],
  ['payments', running],
  ['rogue', running],
  ['stranger', running],
]);

function run(changes: Changes = {}): SpireRun {
  const settled: SpireObservation = {
    node: create(NodeInfoSchema, { rootOfTrust: 'software' }),
    workloads: new Map([
      ['orders', workload('orders')],
      ['payments', workload('payments')],
      ['rogue', workload('rogue', [CHANGED])],
      ['stranger', workload('stranger', [{ code: 'appraisal.image.unknown' }])],
    ]),
    lines: new Map([
      ['orders', served('orders', 'payments')],
      ['payments', served('payments', 'orders')],
      ['rogue', refused],
      ['stranger', refused],
    ]),
    refusals: new Map(
      changes.refusals ?? [
        ['rogue', 'changed'],
        ['stranger', 'unknown'],
      ],
    ),
    stopped: new Set(['orders']),
  };
  const change: SpireDrift = {
    executedAtUnixMs: 1_000,
    noticedAtUnixMs: 'noticedAtUnixMs' in changes ? changes.noticedAtUnixMs : 1_400,
    states: changes.states ?? STATES,
    seen: settled,
  };
  const selectors = ['lacre_tpm:root:software', 'lacre_tpm:host:standard'];
  return { settled, change, agents: changes.agents ?? [{ spiffeId: AGENT, selectors }], images: IMAGE_NAMES };
}

function faultsOf(changes: Changes): string[] {
  const given = run(changes);
  return unexpectedOfSpire(spireReport(given, {}), given, AGENT);
}

test('a run in which all went as it should has no fault, and times from the changed program on', () => {
  const good = run();
  const report = spireReport(good, { total: 5 });
  assert.deepEqual(unexpectedOfSpire(report, good, AGENT), []);
  assert.deepEqual(report.drift, {
    container: 'orders',
    noticedAfterMs: 400,
    stoppedAfterMs: 900,
    kept: true,
    othersRunning: true,
  });
  assert.deepEqual(
    report.containers.map(({ name, refusal }) => [name, refusal]),
    [
      ['orders', null],
      ['payments', null],
      ['rogue', 'changed'],
      ['stranger', 'unknown'],
    ],
  );
});

test('an agent that spire-server does not know, or knows without what Lacre says of its host', () => {
  assert.match(faultsOf({ agents: [] }).join(), /knows no agent/);
  assert.match(
    faultsOf({ agents: [{ spiffeId: AGENT, selectors: [] }] }).join(),
    /no selector lacre_tpm:host:standard/,
  );
});

test('a refusal without a reason in the log, and a reason against a good container', () => {
  assert.deepEqual(faultsOf({ refusals: [['rogue', 'changed']] }), ["stranger: spire-agent's log has no reason"]);
  const refusals: [ContainerName, string][] = ['orders', 'rogue', 'stranger'].map((name) => [
    name as ContainerName,
    'x',
  ]);
  assert.deepEqual(faultsOf({ refusals }), ["orders: spire-agent's log refuses it"]);
});

test('a container that drifted and was not stopped, or is gone; another that was stopped with it', () => {
  const states = (name: ContainerName, state: typeof running | undefined) => {
    const changed = new Map(STATES);
    if (state === undefined) changed.delete(name);
    else changed.set(name, state);
    return changed;
  };
  assert.deepEqual(faultsOf({ noticedAtUnixMs: undefined }), [
    'orders: the plugin did not say that it is trusted no more',
  ]);
  assert.deepEqual(faultsOf({ states: states('orders', running) }), ['orders: was not stopped and kept']);
  assert.deepEqual(faultsOf({ states: states('orders', undefined) }), ['orders: was not stopped and kept']);
  const ended = { status: 'exited', endedAtUnixMs: 2_000 };
  assert.match(faultsOf({ states: states('payments', ended) }).join(), /another container than orders/);
});
