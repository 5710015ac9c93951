import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { NodeInfoSchema, WorkloadInfoSchema } from '../proto/lacre/v1/admin_pb.ts';
import { FindingSchema, VerdictSchema } from '../proto/lacre/v1/verdict_pb.ts';
import type { ServiceLine } from './lab-node.ts';
import { labReport, unexpected } from './lab-report.ts';
import type { Drift, Observation } from './scenario.ts';

const id = (name: string) => `spiffe://lacre.lab/${name}`;

function workload(name: string, findings: MessageInitShape<typeof FindingSchema>[] = []) {
  const trusted = findings.length === 0;
  return create(WorkloadInfoSchema, {
    containerName: name,
    attribution: 'exact',
    spiffeIds: trusted ? [id(name)] : [],
    verdict: create(VerdictSchema, {
      trusted,
      findings: findings.map((finding) => create(FindingSchema, { fatal: true, logIndex: -1n, ...finding })),
    }),
  });
}

const CHANGED = {
  code: 'appraisal.file.unexpected',
  path: '/bin/service',
  expectedSha256: ['aa'],
  seenSha256: 'bb',
  logIndex: 7n,
};

function served(name: string, other: string): ServiceLine[] {
  return [
    { timeUnixMs: 10, event: 'identity', spiffeId: id(name) },
    { timeUnixMs: 11, event: 'peer', spiffeId: id(other), sawUsAs: id(name) },
  ];
}

function goodRun(): { settled: Observation; change: Drift } {
  const refused: ServiceLine[] = [{ timeUnixMs: 9, event: 'refused', grpcStatus: '7' }];
  const settled: Observation = {
    node: create(NodeInfoSchema, { spiffeId: id('spire/agent/x'), rootOfTrust: 'software' }),
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
  };
  const after: ServiceLine[] = [
    ...served('orders', 'payments'),
    { timeUnixMs: 320, event: 'ended', grpcStatus: '7' },
    { timeUnixMs: 600, event: 'refused', grpcStatus: '7' },
  ];
  return {
    settled,
    change: { executedAtUnixMs: 100, seen: { ...settled, lines: new Map(settled.lines).set('orders', after) } },
  };
}

function faults({ settled, change }: ReturnType<typeof goodRun>): string[] {
  return unexpected(labReport(settled, change, {}), settled);
}

test('a run as it should be has no fault, and its drift is measured on the node', () => {
  const run = goodRun();
  assert.deepEqual(faults(run), []);
  const { drift, containers } = labReport(run.settled, run.change, {});
  assert.deepEqual(drift, {
    container: 'orders',
    withdrawnAfterMs: 220,
    newRequest: 'PermissionDenied',
    othersKept: true,
  });
  assert.deepEqual(containers[2]?.findings[0], {
    link: '',
    code: 'appraisal.file.unexpected',
    path: '/bin/service',
    expectedSha256: ['aa'],
    seenSha256: 'bb',
    logIndex: 7,
  });
});

const FAULTS: Record<string, (run: ReturnType<typeof goodRun>) => void> = {
  'rogue: trusted': ({ settled }) => (settled.workloads as Map<string, unknown>).set('rogue', workload('rogue')),
  'stranger: spiffe://lacre.lab/stranger': ({ settled }) =>
    (settled.lines as Map<string, unknown>).set('stranger', [
      { timeUnixMs: 9, event: 'identity', spiffeId: id('stranger') },
    ]),
  'orders: refused': ({ settled }) =>
    (settled.workloads as Map<string, unknown>).set('orders', workload('orders', [{ code: 'x' }])),
  'rogue: no finding names /bin/service': ({ settled }) =>
    (settled.workloads as Map<string, unknown>).set('rogue', workload('rogue', [{ ...CHANGED, seenSha256: '' }])),
  'payments and orders have not proven': ({ settled }) =>
    (settled.lines as Map<string, unknown>).set('payments', served('payments', 'orders').slice(0, 1)),
  'its stream did not end with PermissionDenied': ({ change }) =>
    (change.seen.lines as Map<string, unknown>).set('orders', served('orders', 'payments')),
  'orders: a new request got status 14': ({ change }) => {
    const lines = change.seen.lines.get('orders') ?? [];
    (change.seen.lines as Map<string, unknown>).set('orders', [
      ...lines.slice(0, 3),
      { timeUnixMs: 600, event: 'refused', grpcStatus: '14' },
    ]);
  },
  'payments: did not keep': ({ change }) =>
    (change.seen.lines as Map<string, unknown>).set('payments', [
      ...served('payments', 'orders'),
      { timeUnixMs: 500, event: 'ended', grpcStatus: '7' },
      { timeUnixMs: 501, event: 'identity', spiffeId: id('payments') },
    ]),
};

for (const [sentence, change] of Object.entries(FAULTS)) {
  test(`told: ${sentence}`, () => {
    const run = goodRun();
    change(run);
    assert.ok(
      faults(run).some((fault) => fault.startsWith(sentence) || fault.includes(sentence)),
      faults(run).join('\n'),
    );
  });
}
