import type { Finding } from '../proto/lacre/v1/verdict_pb.ts';
import { type DemoNames, IMAGE_NAMES } from './image/demo-image.ts';
import { TRUST_DOMAIN } from './lab-server.ts';
import type { Timings } from './progress.ts';
import {
  CONTAINERS,
  type ContainerName,
  type Drift,
  type Observation,
  PERMISSION_DENIED,
  standing,
} from './scenario.ts';

/** What `lab up --output json` prints. */
export interface LabReport {
  readonly node: NodeReport;
  readonly containers: readonly ContainerReport[];
  readonly drift: {
    container: ContainerName;
    withdrawnAfterMs: number | null;
    newRequest: string | null;
    othersKept: boolean;
  };
  readonly timingsMs: Timings;
}

export interface NodeReport {
  readonly spiffeId: string | null;
  readonly rootOfTrust: string;
  readonly kernel: string;
  /** Proven entries of the measurement list. */
  readonly entries: number;
}

export interface ContainerReport {
  readonly name: ContainerName;
  readonly image: string;
  readonly spiffeId: string | null;
  readonly attribution: string;
  readonly verdict: 'trusted' | 'refused';
  readonly findings: readonly FindingReport[];
}

export interface FindingReport {
  readonly link: string;
  readonly code: string;
  readonly path: string | null;
  readonly expectedSha256: readonly string[];
  readonly seenSha256: string | null;
  readonly logIndex: number | null;
}

export function labReport(settled: Observation, change: Drift, timings: Timings): LabReport {
  return {
    node: nodeReport(change.seen),
    containers: CONTAINERS.map((name) => containerReport(name, settled, IMAGE_NAMES)),
    drift: driftReport(change),
    timingsMs: timings,
  };
}

export function nodeReport({ node }: Observation): NodeReport {
  return {
    spiffeId: node?.spiffeId || null,
    rootOfTrust: node?.rootOfTrust ?? '',
    kernel: node?.kernel ?? '',
    entries: Number(node?.verifiedEntries ?? 0),
  };
}

export function containerReport(name: ContainerName, seen: Observation, images: DemoNames): ContainerReport {
  const workload = seen.workloads.get(name);
  return {
    name,
    image: name === 'stranger' ? images.stranger : images.demo,
    spiffeId: standing(seen.lines.get(name) ?? []).spiffeId ?? null,
    attribution: workload?.attribution ?? '',
    verdict: workload?.verdict?.trusted ? 'trusted' : 'refused',
    findings: (workload?.verdict?.findings ?? []).filter(({ fatal }) => fatal).map(findingReport),
  };
}

export function findingReport(finding: Finding): FindingReport {
  return {
    link: finding.link,
    code: finding.code,
    path: finding.path || null,
    expectedSha256: finding.expectedSha256,
    seenSha256: finding.seenSha256 || null,
    logIndex: finding.logIndex < 0n ? null : Number(finding.logIndex),
  };
}

function driftReport({ seen, executedAtUnixMs }: Drift): LabReport['drift'] {
  const after = (seen.lines.get('orders') ?? []).filter(({ timeUnixMs }) => timeUnixMs >= executedAtUnixMs);
  const ended = after.find(({ event, grpcStatus }) => event === 'ended' && grpcStatus === PERMISSION_DENIED);
  const anew = after.find(({ event, timeUnixMs }) => event === 'refused' && ended && timeUnixMs >= ended.timeUnixMs);
  const payments = seen.lines.get('payments') ?? [];
  return {
    container: 'orders',
    withdrawnAfterMs: ended ? ended.timeUnixMs - executedAtUnixMs : null,
    newRequest: anew
      ? anew.grpcStatus === PERMISSION_DENIED
        ? 'PermissionDenied'
        : `status ${anew.grpcStatus}`
      : null,
    othersKept:
      standing(payments).spiffeId === spiffeId('payments') &&
      !payments.some(({ event, timeUnixMs }) => timeUnixMs >= executedAtUnixMs && event === 'ended') &&
      (seen.workloads.get('payments')?.spiffeIds.includes(spiffeId('payments')) ?? false),
  };
}

/** Everything that is not as the lab wants to show it, as sentences; none: it all was. */
export function unexpected(report: LabReport, settled: Observation): string[] {
  const faults = unexpectedStart(report, settled);
  const check = (holds: boolean, sentence: string) => {
    if (!holds) faults.push(sentence);
  };
  check(
    report.drift.withdrawnAfterMs !== null,
    'orders: its stream did not end with PermissionDenied after the change',
  );
  check(
    report.drift.newRequest === 'PermissionDenied',
    `orders: a new request got ${report.drift.newRequest ?? 'no answer'}`,
  );
  check(report.drift.othersKept, 'payments: did not keep its identity');
  return faults;
}

/** The same up to the drift, which differs with who acts on it. */
export function unexpectedStart(report: Pick<LabReport, 'node' | 'containers'>, settled: Observation): string[] {
  const faults: string[] = [];
  const check = (holds: boolean, sentence: string) => {
    if (!holds) faults.push(sentence);
  };
  check(
    report.node.spiffeId !== null && report.node.rootOfTrust === 'software',
    'the node is not enrolled with a software TPM',
  );
  for (const { name, spiffeId: id, verdict, attribution, findings } of report.containers) {
    const good = name === 'orders' || name === 'payments';
    check(attribution === 'exact', `${name}: attribution is ${attribution || 'unknown'}, not exact`);
    check(verdict === (good ? 'trusted' : 'refused'), `${name}: ${verdict}`);
    check(id === (good ? spiffeId(name) : null), `${name}: ${id ?? 'has no SPIFFE ID'}`);
    check(good || findings.length > 0, `${name}: refused without a finding`);
  }
  const rogue = report.containers.find(({ name }) => name === 'rogue')?.findings ?? [];
  check(
    rogue.some((f) => f.path === '/bin/service' && f.seenSha256 !== null && f.expectedSha256.length > 0),
    'rogue: no finding names /bin/service with its expected and its seen digest',
  );
  for (const [name, other] of [
    ['orders', 'payments'],
    ['payments', 'orders'],
  ] as const) {
    const proof = (settled.lines.get(name) ?? []).some(
      (line) => line.event === 'peer' && line.spiffeId === spiffeId(other) && line.sawUsAs === spiffeId(name),
    );
    check(proof, `${name} and ${other} have not proven themselves to each other`);
  }
  return faults;
}

export function spiffeId(name: ContainerName): string {
  return `spiffe://${TRUST_DOMAIN}/${name}`;
}
