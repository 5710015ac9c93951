import type { BootFinding } from '../boot/boot-finding.ts';
import { bankReference } from '../boot/boot-reference.ts';
import { type BootMatch, matchBoot } from '../boot/match-boot.ts';
import type { ReplayedBoot } from '../boot/replayed-boot.ts';
import { toHex } from '../bytes/hex.ts';
import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import type { RootOfTrust } from '../tpm/endorsement.ts';
import type { EpochAppraisal } from './epoch-appraisal.ts';
import { type Finding, fatalFinding, toldFinding } from './finding.ts';
import { HostJudge, judgeTool } from './host-file.ts';
import { gradeHost, gradeLoss, type HostGrade } from './host-grade.ts';
import { policyOf } from './policy-facts.ts';
import type { HostReference } from './reference/host-reference.ts';
import { concludeVerdict, type Verdict } from './verdict.ts';

/** What is known of a node at one quote. */
export interface HostEvidence {
  /** Fed with the list that the quote covers, and perhaps with later, unquoted entries, which can only lower trust. */
  readonly epoch: EpochAppraisal;
  /** Explained by the quote. */
  readonly boot: ReplayedBoot;
  /** Undefined: none is approved for this node. */
  readonly reference: HostReference | undefined;
  /** A claim: it can lower a grade, never raise it. */
  readonly observation: NodeObservation;
  /** TPMS_CLOCK_INFO.safe of the quote. */
  readonly clockSafe: boolean;
  readonly rootOfTrust: RootOfTrust;
  /** When the nonce of the quote was made. */
  readonly evidenceTime: Date;
}

export const HOST_SUBJECT = 'host';
const GRADES: readonly HostGrade[] = ['open', 'standard', 'sealed'];
/** Of a boot in which an approved kernel and its initrd were not measured, or something besides. */
const INCOMPLETE = /boot\.(none|kernel|initrd)/;
const matches = new WeakMap<ReplayedBoot, WeakMap<HostReference, BootMatch>>();
const judges = new WeakMap<HostReference, HostJudge>();

/**
 * Whether a node is as its reference values say, and how closed it is (DESIGN sections 4 and 7). Proven of a trusted
 * verdict, given that the quote covers `boot` and the entries that were fed: only approved files were executed on the
 * host, it booted what is approved, as far as that is pinned, and the grade among the selectors holds. A sealed node has
 * the selectors of the lower grades as well. Why the grade is not higher is among the findings.
 */
export function appraiseHost(evidence: HostEvidence): Verdict {
  const { reference, epoch, evidenceTime } = evidence;
  if (reference === undefined) {
    const unknown = fatalFinding(
      'appraisal.host.unknown',
      HOST_SUBJECT,
      'no reference values are approved for this host',
    );
    return concludeVerdict(HOST_SUBJECT, [unknown], [], evidenceTime);
  }
  const match = matchOf(evidence.boot, reference);
  const booted = match.findings.map((finding) => bootFinding(finding, evidence, reference));
  const listed = [...aggregateFindings(evidence), ...fileFindings(epoch, reference)];
  const { grade, reasons } = gradeHost({
    reference,
    bank: evidence.boot.bank,
    match: asMatched(match, booted),
    epoch,
    observation: evidence.observation,
    tools: toolFindings(epoch),
  });
  const findings = [...clockFindings(evidence), ...booted, ...listed, ...reasons];
  return concludeVerdict(HOST_SUBJECT, findings, hostSelectors(grade, evidence, reference, match), evidenceTime);
}

/**
 * A trusted verdict after entries that no quote covers yet: they can take its grade, and never give one. A bad file among
 * them is not looked for here.
 */
export function lowerHost(verdict: Verdict, later: EpochAppraisal): Verdict {
  const { standard, sealed } = gradeLoss(later, toolFindings(later));
  const kept = standard.length > 0 ? 'open' : sealed.length > 0 ? 'standard' : 'sealed';
  const lost = GRADES.slice(GRADES.indexOf(kept) + 1).map((name) => `lacre:host:${name}`);
  if (kept === 'open') lost.push('lacre:measures:reads');
  const selectors = verdict.selectors.filter((selector) => !lost.includes(selector));
  if (selectors.length === verdict.selectors.length) return verdict;
  return concludeVerdict(HOST_SUBJECT, [...verdict.findings, ...standard, ...sealed], selectors, verdict.evidenceTime);
}

/** Judges of reference values are made once, as they index them. */
export function hostJudgeOf(reference: HostReference): HostJudge {
  const judge = judges.get(reference) ?? new HostJudge(reference);
  judges.set(reference, judge);
  return judge;
}

function clockFindings({ clockSafe }: HostEvidence): Finding[] {
  return clockSafe
    ? []
    : [
        toldFinding(
          'tpm.clock.unsafe',
          HOST_SUBJECT,
          "the TPM's clock may have gone back, because it lost power without warning",
        ),
      ];
}

/** What is pinned must match; what the reference leaves open lowers the grade. A node of a software root may measure no kernel. */
function bootFinding(
  finding: BootFinding,
  { boot: { bank }, rootOfTrust }: HostEvidence,
  { boot }: HostReference,
): Finding {
  const anyKernel = bankReference(boot, bank).kernels.length === 0;
  const leftOpen =
    (finding.code === 'boot.none' && rootOfTrust === 'software' && anyKernel) ||
    (finding.code.startsWith('boot.kernel.') && anyKernel) ||
    (finding.code.startsWith('boot.cmdline.') && boot.commandLines.length === 0);
  return { ...finding, fatal: finding.fatal && !leftOpen };
}

function asMatched(
  match: BootMatch,
  findings: readonly Finding[],
): { readonly commandLine: string | undefined; readonly complete: boolean } {
  return { commandLine: match.commandLine, complete: !findings.some(({ code }) => INCOMPLETE.test(code)) };
}

function aggregateFindings({ epoch, boot }: HostEvidence): Finding[] {
  const first = epoch.host.sightings.list[0];
  if (first === undefined || first.kind !== 'boot-aggregate' || first.index !== 0 || first.pcr !== 10) {
    return [
      fatalFinding('ima.aggregate.missing', HOST_SUBJECT, 'the measurement list does not begin with boot_aggregate'),
    ];
  }
  const expected = toHex(boot.bootAggregate());
  if (first.hex === expected && first.algorithm === boot.bank) return [];
  // A kernel whose ima_hash fits no bank of the TPM writes zeros (ima_calc_boot_aggregate; docs/decisions/0007).
  if (boot.bank === 'sha384' && first.digestState === 'zero') return [];
  const facts = { path: first.path, expectedSha256: [expected], seenSha256: first.hex, logIndex: 0 };
  return [
    fatalFinding('ima.aggregate.unexpected', HOST_SUBJECT, 'boot_aggregate does not hold the PCRs of this boot', facts),
  ];
}

function fileFindings(epoch: EpochAppraisal, reference: HostReference): Finding[] {
  const judge = hostJudgeOf(reference);
  const { executed, read } = epoch.host.judged(judge, (sighting) => judge.judge(sighting));
  const dropped = epoch.host.sightings.dropped;
  const over = fatalFinding(
    'ima.list.oversized',
    HOST_SUBJECT,
    `the host executed ${dropped} more different files than can be judged`,
  );
  return [...executed.findings(HOST_SUBJECT), ...read.findings(HOST_SUBJECT), ...(dropped > 0 ? [over] : [])];
}

/** Neither a boot nor reference values ever change: they are compared once. */
function matchOf(boot: ReplayedBoot, reference: HostReference): BootMatch {
  const known = matches.get(boot) ?? new WeakMap<HostReference, BootMatch>();
  matches.set(boot, known);
  const match = known.get(reference) ?? matchBoot(boot, reference.boot);
  known.set(reference, match);
  return match;
}

function toolFindings(epoch: EpochAppraisal): Finding[] {
  return epoch.host.judged(judgeTool, judgeTool).executed.findings(HOST_SUBJECT);
}

function hostSelectors(
  grade: HostGrade,
  { boot: { bank }, rootOfTrust }: HostEvidence,
  reference: HostReference,
  match: BootMatch,
): string[] {
  const reads = policyOf(reference).measuresReads && grade !== 'open';
  return [
    ...GRADES.slice(0, GRADES.indexOf(grade) + 1).map((name) => `lacre:host:${name}`),
    `lacre:root:${rootOfTrust}`,
    `lacre:host-reference:${reference.name}`,
    ...(match.kernelSha256Hex === undefined ? ['lacre:boot:none'] : [`lacre:kernel:${bank}:${match.kernelSha256Hex}`]),
    ...(reads ? ['lacre:measures:reads'] : []),
  ];
}
