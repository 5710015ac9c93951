import { bankReference } from '../boot/boot-reference.ts';
import type { NodeObservation } from '../proto/lacre/v1/record_pb.ts';
import type { PcrBank } from '../tpm/constants.ts';
import { type CommandLineFacts, readCommandLine } from './command-line-facts.ts';
import type { EpochAppraisal } from './epoch-appraisal.ts';
import { type Finding, toldFinding } from './finding.ts';
import type { FindingCode } from './finding-code.ts';
import { policyOf } from './policy-facts.ts';
import type { HostReference } from './reference/host-reference.ts';
import { type Sighting, UNTRUSTED_PCR } from './sighting.ts';
import { readVerityTable } from './verity-table.ts';

/** How closed a host is (DESIGN section 4). */
export type HostGrade = 'open' | 'standard' | 'sealed';

export interface GradeInput {
  readonly reference: HostReference;
  /** Of the boot. */
  readonly bank: PcrBank;
  readonly match: {
    /** The approved command line that was measured. */
    readonly commandLine: string | undefined;
    /** An approved kernel, and nothing but approved initrds, were measured. */
    readonly complete: boolean;
  };
  readonly epoch: EpochAppraisal;
  readonly observation: NodeObservation;
  /** General-purpose tools that ran. */
  readonly tools: readonly Finding[];
}

const SUBJECT = 'host';
const none = (code: FindingCode, detail: string): Finding => toldFinding(code, SUBJECT, detail);

/** The grade that a host has, and every reason why it has no higher one. The verdict's fatal findings are apart from it. */
export function gradeHost(input: GradeInput): { readonly grade: HostGrade; readonly reasons: readonly Finding[] } {
  const line = input.match.commandLine === undefined ? undefined : readCommandLine(input.match.commandLine);
  const open = [
    ...policyReasons(input),
    ...kernelReasons(line),
    ...observationReasons(line, input.observation),
    ...untrustedReasons(input.epoch),
  ];
  const standard = [
    ...memoryReasons(line),
    ...rootReasons(line, input),
    ...violationReasons(input.epoch),
    ...firmwareReasons(input.reference, input.bank),
    ...input.tools,
  ];
  const grade = open.length > 0 ? 'open' : standard.length > 0 ? 'standard' : 'sealed';
  return { grade, reasons: [...open, ...standard] };
}

/** What takes a grade while the node runs: entries alone, each by itself. */
export interface GradeLoss {
  readonly standard: readonly Finding[];
  readonly sealed: readonly Finding[];
}

/** @param tools that ran, of the same entries */
export function gradeLoss(epoch: EpochAppraisal, tools: readonly Finding[]): GradeLoss {
  return { standard: untrustedReasons(epoch), sealed: [...violationReasons(epoch), ...tools] };
}

/** Which policy is loaded is proven by the measured boot that loads it before anything else (DESIGN section 3.10). */
function policyReasons({ reference, match, epoch }: GradeInput): Finding[] {
  const reasons: Finding[] = [];
  if (!match.complete)
    reasons.push(
      none(
        'appraisal.policy.unproven',
        'no approved kernel and initrd were measured, so nothing says which policy was loaded',
      ),
    );
  if (reference.policy === '')
    reasons.push(
      none('appraisal.policy.unproven', 'the reference values do not hold the policy that the initrd loads'),
    );
  const policy = policyOf(reference);
  if (!policy.measuresHost)
    reasons.push(
      none('appraisal.policy.weak', 'the policy does not measure every execution, map and module of the host'),
    );
  if (!policy.measuresContainers) {
    const pool = `uid ${reference.uidPoolBase}`;
    reasons.push(
      none('appraisal.policy.weak', `the policy does not measure with its owner all that is executed from ${pool} on`),
    );
  }
  return [...reasons, ...initReasons(reference, epoch)];
}

function nextInitOf({ nextInit, files }: HostReference, epoch: EpochAppraisal): Sighting | undefined {
  return epoch.host.sightings.list.find(({ path, hex }) => path === nextInit && files.has(path, hex));
}

function initReasons(reference: HostReference, epoch: EpochAppraisal): Finding[] {
  const { nextInit } = reference;
  if (nextInit === '')
    return [none('appraisal.init.missing', 'the reference values do not say what the first program of the root is')];
  const first = nextInitOf(reference, epoch);
  if (first === undefined)
    return [
      none('appraisal.init.missing', `${nextInit} was not executed, so the root may have been started otherwise`),
    ];
  if (epoch.firstForeignIndex > first.index) return [];
  return [
    toldFinding('appraisal.init.unexpected', SUBJECT, `something of a container comes before ${nextInit}`, {
      logIndex: epoch.firstForeignIndex,
    }),
  ];
}

function kernelReasons(line: CommandLineFacts | undefined): Finding[] {
  if (line === undefined)
    return [
      none('appraisal.kernel.open', 'no approved command line was measured, so nothing says that the kernel is closed'),
    ];
  const reasons: Finding[] = [];
  if (!line.kernelClosed)
    reasons.push(none('appraisal.kernel.open', 'neither lockdown nor module.sig_enforce is on the command line'));
  if (!line.kexecDisabled)
    reasons.push(none('appraisal.kernel.open', 'sysctl.kernel.kexec_load_disabled=1 is not on the command line'));
  return reasons;
}

/** Values are kept plus one; 0: this kernel has no such setting, or the agent does not say. */
function observationReasons(line: CommandLineFacts | undefined, seen: NodeObservation): Finding[] {
  if (line === undefined) return [];
  const differs = (what: string) =>
    none('appraisal.observation.differs', `the node observes ${what}, against its command line`);
  return [
    ...(line.lockdown && seen.lockdown === 'none' ? [differs('no lockdown')] : []),
    ...(line.kexecDisabled && seen.kexecLoadDisabled === 1 ? [differs('that kexec is possible')] : []),
    ...(line.memoryClosed && seen.ptraceScope > 0 && seen.ptraceScope < 4
      ? [differs(`kernel.yama.ptrace_scope=${seen.ptraceScope - 1}`)]
      : []),
  ];
}

/** Nobody says that it was a container, and not the host, which executed it. */
function untrustedReasons(epoch: EpochAppraisal): Finding[] {
  const seen = epoch.unattributed.sightings.list.find(({ pcr }) => pcr === UNTRUSTED_PCR);
  if (seen === undefined) return [];
  const facts = { path: seen.path, logIndex: seen.index };
  return [
    toldFinding(
      'ima.filesystem.untrusted',
      SUBJECT,
      `${seen.path} was executed from an untrusted file system, and nothing says by whom`,
      facts,
    ),
  ];
}

function memoryReasons(line: CommandLineFacts | undefined): Finding[] {
  return [
    ...(line?.memoryClosed
      ? []
      : [none('appraisal.memory.open', 'sysctl.kernel.yama.ptrace_scope=3 is not on the command line')]),
    ...(line?.lockdown
      ? []
      : [none('appraisal.memory.open', 'lockdown is not on the command line, so root can reach kernel memory')]),
  ];
}

/**
 * The kernel's own entry says which tree it checks the root against, and that it did so before the first program of the
 * root ran: until then only programs of the approved initrd had run. The command line alone is a word to that initrd.
 */
function rootReasons(line: CommandLineFacts | undefined, { reference, epoch }: GradeInput): Finding[] {
  const wanted = line?.rootDigestHex;
  if (wanted === undefined) return [none('appraisal.root.unverified', 'no dm-verity root hash is on the command line')];
  const started = nextInitOf(reference, epoch);
  const isMapped = epoch.host.sightings.list.some(({ kind, path, index, buffer }) => {
    if (kind !== 'buffer' || path !== 'dm_table_load' || started === undefined || index > started.index) return false;
    const table = readVerityTable(buffer ?? new Uint8Array());
    return table?.rootDigestHex === wanted && table.enforces;
  });
  if (isMapped) return [];
  const detail =
    'no verity table with the root hash of the command line was loaded before the first program of the root';
  return [none('appraisal.root.unverified', detail)];
}

function violationReasons({ violations }: EpochAppraisal): Finding[] {
  const [first] = violations.first;
  if (first === undefined) return [];
  const facts = { path: first.path, logIndex: first.index };
  return [
    toldFinding(
      'ima.violation',
      SUBJECT,
      `${violations.count} violations are in the list: files were open for writing while they were measured`,
      facts,
    ),
  ];
}

function firmwareReasons({ boot }: HostReference, bank: PcrBank): Finding[] {
  return bankReference(boot, bank).pcrs.has(0)
    ? []
    : [none('appraisal.firmware.open', 'PCR 0 is not pinned, so any firmware may have run')];
}
