import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { WorkloadInfoSchema } from '../../proto/lacre/v1/admin_pb.ts';
import type { ServiceLine } from '../lab-node.ts';
import type { Observation } from '../scenario.ts';
import { type ReadsReport, readsReport, unexpectedReads } from './reads-report.ts';
import { changedFile, isLateSettled, isReadsSettled, READS_CONTAINERS, spiffeIdOf } from './reads-scenario.ts';

const GOOD = ['lacre:coverage:read', 'lacre:attribution:exact', 'lacre:image:proven'];
const finding = (path: string) => ({
  link: 'appraisal',
  code: 'appraisal.file.unexpected',
  path,
  expectedSha256: ['0'.repeat(64)],
  seenSha256: '1'.repeat(64),
  logIndex: 7n,
  fatal: true,
});

/** What the lab sees of its containers: before the late changes, or after them. */
function observed(isAfter: boolean): Observation {
  const lines = new Map<string, ServiceLine[]>();
  const workloads = new Map();
  for (const container of READS_CONTAINERS) {
    const { name, treatment, changedPath } = container;
    const isLost = isAfter && treatment === 'late';
    const bad = treatment === 'changed' || isLost ? changedPath : null;
    const said: ServiceLine[] =
      treatment === 'changed'
        ? [{ timeUnixMs: 1, event: 'refused', grpcStatus: '7' }]
        : [{ timeUnixMs: 1, event: 'identity', spiffeId: spiffeIdOf(container) }];
    if (isLost)
      said.push(
        { timeUnixMs: 100, event: 'job', message: 'changed job' },
        { timeUnixMs: 140, event: 'ended', grpcStatus: '7' },
        { timeUnixMs: 150, event: 'refused', grpcStatus: '7' },
      );
    lines.set(name, said);
    const verdict = { trusted: bad === null, selectors: GOOD, findings: bad === null ? [] : [finding(bad)] };
    const spiffeIds = bad === null ? [spiffeIdOf(container)] : [];
    workloads.set(name, create(WorkloadInfoSchema, { containerName: name, spiffeIds, verdict }));
  }
  return { node: undefined, workloads, lines };
}

const good = (): ReadsReport => ({
  ...readsReport({ settled: observed(false), ended: observed(true), list: new Uint8Array() }, {}),
  node: { spiffeId: 'x', rootOfTrust: 'software', kernel: '', entries: 1 },
  measured: { executed: 1, read: 1, untrusted: 0 },
});

test('a run in which all is as expected', () => {
  const report = good();
  assert.deepEqual(unexpectedReads(report), []);
  assert.deepEqual(report.kept, ['python', 'node', 'shell']);
  assert.deepEqual(
    report.late.map(({ withdrawnAfterMs, newRequest }) => [withdrawnAfterMs, newRequest]),
    Array.from({ length: 3 }, () => [40, 'PermissionDenied']),
  );
  assert.equal(isReadsSettled(observed(false)), true);
  assert.equal(isReadsSettled({ ...observed(false), workloads: new Map() }), false);
  assert.deepEqual([isLateSettled(observed(false)), isLateSettled(observed(true))], [false, true]);
});

test('whatever is otherwise is told', () => {
  const { containers, late } = good();
  const [first, ...others] = containers;
  const [lateFirst, ...lateOthers] = late;
  assert.ok(first && lateFirst);
  const cases: [Partial<ReadsReport>, RegExp][] = [
    [{ containers: [{ ...first, selectors: GOOD.slice(1) }, ...others] }, /python: lacks lacre:coverage:read/],
    [{ containers: [{ ...first, spiffeId: null }, ...others] }, /python: has no SPIFFE ID/],
    [{ containers: containers.map((c) => ({ ...c, findings: [] })) }, /node-changed: no finding names \/srv\/app\.js/],
    [{ late: [{ ...lateFirst, withdrawnAfterMs: null }, ...lateOthers] }, /python-late: its stream did not end/],
    [{ late: [{ ...lateFirst, newRequest: null }, ...lateOthers] }, /python-late: a new request got no answer/],
    [{ late: [{ ...lateFirst, finding: null }, ...lateOthers] }, /python-late: no finding names \/etc\/service\.conf/],
    [{ kept: ['node', 'shell'] }, /python: did not keep its identity/],
    [{ measured: { executed: 1, read: 0, untrusted: 0 } }, /nothing is in PCR 13/],
  ];
  for (const [change, sentence] of cases) assert.match(unexpectedReads({ ...good(), ...change }).join('\n'), sentence);
});

test('a changed file is another one, and what it does is the same', async () => {
  assert.match((await changedFile('python', '/etc/service.conf')).toString(), /^mode = changed\n$/);
  assert.match((await changedFile('node', '/srv/app.js')).toString(), /\/\/ changed by root of the host\n$/);
  assert.match((await changedFile('shell', '/srv/main.sh')).toString(), /# changed by root of the host\n$/);
});
