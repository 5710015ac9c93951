import { ListReplay } from '../../ima/list-replay.ts';
import { type FindingReport, findingReport, type NodeReport, nodeReport } from '../lab-report.ts';
import type { Timings } from '../progress.ts';
import { type Observation, PERMISSION_DENIED, standing } from '../scenario.ts';
import type { Language } from './interpreted-image.ts';
import { afterChange, READS_CONTAINERS, type ReadsContainer, spiffeIdOf, type Treatment } from './reads-scenario.ts';

/** What `lab up --reads --output json` prints. */
export interface ReadsReport {
  readonly node: NodeReport;
  /** Entries of the node's list by their PCR: executed (10), read by containers (13), from untrusted file systems (14). */
  readonly measured: { readonly executed: number; readonly read: number; readonly untrusted: number };
  readonly containers: readonly ReadsContainerReport[];
  readonly late: readonly LateReport[];
  /** Containers that nobody touched, and that kept their identity to the end. */
  readonly kept: readonly string[];
  readonly timingsMs: Timings;
}

export interface ReadsContainerReport {
  readonly name: string;
  readonly language: Language;
  readonly treatment: Treatment;
  readonly spiffeId: string | null;
  readonly verdict: 'trusted' | 'refused';
  /** Of a trusted one. */
  readonly selectors: readonly string[];
  readonly findings: readonly FindingReport[];
}

/** What came of a file that was changed while its container ran. */
export interface LateReport {
  readonly name: string;
  readonly path: string;
  /** From the service's first answer out of the changed file to the end of its stream, both by the node's clock. */
  readonly withdrawnAfterMs: number | null;
  readonly newRequest: string | null;
  readonly finding: FindingReport | null;
}

export interface ReadsRun {
  /** When every container had its identity or its refusal. */
  readonly settled: Observation;
  /** After the late changes. */
  readonly ended: Observation;
  /** binary_runtime_measurements at the end. */
  readonly list: Uint8Array;
}

export function readsReport({ settled, ended, list }: ReadsRun, timings: Timings): ReadsReport {
  return {
    node: nodeReport(ended),
    measured: measured(list),
    containers: READS_CONTAINERS.map((container) => containerReport(container, settled)),
    late: READS_CONTAINERS.filter(({ treatment }) => treatment === 'late').map((c) => lateReport(c, ended)),
    kept: READS_CONTAINERS.filter((container) => keptIdentity(container, ended)).map(({ name }) => name),
    timingsMs: timings,
  };
}

function measured(list: Uint8Array): ReadsReport['measured'] {
  const zero = new Uint8Array(32);
  const entries = new ListReplay({ pcr10: zero, pcr13: zero, pcr14: zero }).append(list);
  const count = (pcr: number) => entries.filter((entry) => entry.pcr === pcr).length;
  return { executed: count(10), read: count(13), untrusted: count(14) };
}

function containerReport(container: ReadsContainer, seen: Observation): ReadsContainerReport {
  const { name, language, treatment } = container;
  const verdict = seen.workloads.get(name)?.verdict;
  return {
    ...{ name, language, treatment },
    spiffeId: standing(seen.lines.get(name) ?? []).spiffeId ?? null,
    verdict: verdict?.trusted ? 'trusted' : 'refused',
    selectors: verdict?.trusted ? verdict.selectors.filter((selector) => selector.startsWith('lacre:')) : [],
    findings: fatal(seen, name),
  };
}

function fatal(seen: Observation, name: string): FindingReport[] {
  const findings = seen.workloads.get(name)?.verdict?.findings ?? [];
  return findings.filter((finding) => finding.fatal).map(findingReport);
}

function lateReport({ name, changedPath }: ReadsContainer, seen: Observation): LateReport {
  const { readAt, later } = afterChange(seen.lines.get(name) ?? []);
  const [ended] = later;
  const anew = later.find(({ event }) => event === 'refused');
  const denied = ended?.grpcStatus === PERMISSION_DENIED;
  return {
    name,
    path: changedPath ?? '',
    withdrawnAfterMs: readAt && ended && denied ? ended.timeUnixMs - readAt.timeUnixMs : null,
    newRequest: anew
      ? anew.grpcStatus === PERMISSION_DENIED
        ? 'PermissionDenied'
        : `status ${anew.grpcStatus}`
      : null,
    finding: fatal(seen, name).find(({ path }) => path === changedPath) ?? null,
  };
}

function keptIdentity(container: ReadsContainer, seen: Observation): boolean {
  const lines = seen.lines.get(container.name) ?? [];
  return (
    container.treatment === 'honest' &&
    standing(lines).spiffeId === spiffeIdOf(container) &&
    !lines.some(({ event }) => event === 'ended') &&
    (seen.workloads.get(container.name)?.spiffeIds.includes(spiffeIdOf(container)) ?? false)
  );
}

/** Everything that is not as it should be, as sentences; none: it all was. */
export function unexpectedReads(report: ReadsReport): string[] {
  const faults = report.containers.flatMap(unexpectedContainer);
  const check = (holds: boolean, sentence: string) => {
    if (!holds) faults.push(sentence);
  };
  check(report.node.rootOfTrust === 'software', 'the node is not enrolled with a software TPM');
  check(report.measured.read > 0, 'nothing is in PCR 13');
  for (const { name, path, withdrawnAfterMs, newRequest, finding } of report.late) {
    check(withdrawnAfterMs !== null, `${name}: its stream did not end with PermissionDenied after ${path} was read`);
    check(newRequest === 'PermissionDenied', `${name}: a new request got ${newRequest ?? 'no answer'}`);
    check(isOfFile(finding, path), `${name}: no finding names ${path} with its expected and its seen digest`);
  }
  for (const { name, treatment } of READS_CONTAINERS)
    check(treatment !== 'honest' || report.kept.includes(name), `${name}: did not keep its identity`);
  return faults;
}

function unexpectedContainer({ name, verdict, spiffeId, selectors, findings }: ReadsContainerReport): string[] {
  const container = READS_CONTAINERS.find((one) => one.name === name);
  if (!container) return [`${name}: nobody started it`];
  const { treatment, changedPath } = container;
  if (treatment === 'changed') {
    const named = findings.some((finding) => isOfFile(finding, changedPath));
    return [
      ...(verdict === 'refused' && spiffeId === null ? [] : [`${name}: ${verdict}, ${spiffeId ?? 'without an ID'}`]),
      ...(named ? [] : [`${name}: no finding names ${changedPath} with its expected and its seen digest`]),
    ];
  }
  const wanted = ['lacre:coverage:read', 'lacre:attribution:exact', 'lacre:image:proven'];
  const missing = wanted.filter((selector) => !selectors.includes(selector));
  return [
    ...(spiffeId === spiffeIdOf(container) ? [] : [`${name}: ${spiffeId ?? 'has no SPIFFE ID'}`]),
    ...missing.map((selector) => `${name}: lacks ${selector}`),
  ];
}

function isOfFile(finding: FindingReport | null, path: string | null): boolean {
  return (
    finding?.code === 'appraisal.file.unexpected' &&
    finding.path === path &&
    finding.seenSha256 !== null &&
    finding.expectedSha256.length === 1 &&
    !finding.expectedSha256.includes(finding.seenSha256)
  );
}
