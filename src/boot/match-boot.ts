import { toHex } from '../bytes/hex.ts';
import { BOOT_FINDINGS, type BootFinding, type BootFindingCode } from './boot-finding.ts';
import { commandLineDigest } from './command-line.ts';
import type { BootEvent } from './event-log.ts';
import { isAnnouncement, isSeparator } from './known-event.ts';
import type { ReplayedBoot } from './replayed-boot.ts';

/** What a host may boot (lacre.v1.HostReference). Digests are of the SHA-256 bank, 32 bytes. */
export interface BootReference {
  /** Image hashes of approved kernels (authenticodeSha256), PCR 4. */
  readonly kernelSha256: readonly Uint8Array[];
  /** SHA-256 of approved initrd files, PCR 9; empty where the kernel image holds its own: then none may be loaded. */
  readonly initrdSha256: readonly Uint8Array[];
  /** Approved command lines as the kernel's EFI stub measures them, PCR 9. */
  readonly commandLines: readonly string[];
  /** Pinned values by PCR, any of which will do. PCR 0 to 9, 10 and 12 to 14 can be pinned. */
  readonly pcrs: ReadonlyMap<number, readonly Uint8Array[]>;
}

/** Result of matchBoot; names what was recognised. */
export interface BootMatch {
  readonly findings: readonly BootFinding[];
  /** The approved command line that the kernel was started with. */
  readonly commandLine?: string;
  readonly kernelSha256Hex?: string;
  readonly initrdSha256Hex?: string;
}

/** PCRs that must hold nothing but separators, unless pinned. 8 and 12: loaders. 10, 13, 14: the measurement list starts
 * there, and an entry moved from the list into the log would be seen by nobody. */
const CLOSED_PCRS: readonly number[] = [8, 10, 12, 13, 14];
const PINNABLE_PCRS: ReadonlySet<number> = new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]);
/** Tag that the kernel gives the command line's event (LOAD_OPTIONS_EVENT_TAG_ID): a claim, good for wording alone. */
const LOAD_OPTIONS_TAG = 'ed223b8f';

type Part = 'kernel' | 'initrd' | 'cmdline';

interface Measured {
  readonly hex: string;
  readonly event: BootEvent;
}

/**
 * Compares a boot with what the host may boot: one approved kernel in PCR 4, one approved command line and at most one
 * approved initrd in PCR 9, nothing else in either, pinned PCRs at a pinned value. Digests alone decide; types and data of
 * events are claims. Returns all findings; none fatal means that all of this holds, once a quote explains `boot`.
 */
export function matchBoot(boot: ReplayedBoot, reference: BootReference): BootMatch {
  const programs = measured(boot, 4).filter(({ hex }) => !isAnnouncement(hex));
  const loaded = measured(boot, 9).filter(({ hex }) => !isSeparator(hex));
  const pins = pinFindings(boot, reference);
  if (programs.length === 0 && loaded.length === 0) {
    return { findings: [finding('boot.none', BOOT_FINDINGS['boot.none']), ...pins] };
  }
  const kernels = new Set(reference.kernelSha256.map(toHex));
  const initrds = new Set(reference.initrdSha256.map(toHex));
  const lines = new Map(reference.commandLines.map((line) => [toHex(commandLineDigest(line)), line]));
  const kernel = programs.filter(({ hex }) => kernels.has(hex));
  const initrd = loaded.filter(({ hex }) => initrds.has(hex));
  const cmdline = loaded.filter(({ hex }) => lines.has(hex));
  const findings = [
    ...programs.filter(({ hex }) => !kernels.has(hex)).map((seen) => unknown('kernel', seen, kernels)),
    ...exactlyOne('kernel', kernel, kernels),
    ...loaded
      .filter(({ hex }) => !initrds.has(hex) && !lines.has(hex))
      .map((seen) =>
        isLabelledLine(seen.event) ? unknown('cmdline', seen, lines.keys()) : unknown('initrd', seen, initrds),
      ),
    ...exactlyOne('cmdline', cmdline, lines.keys()),
    ...(initrds.size > 0 ? exactlyOne('initrd', initrd, initrds) : []),
    ...pins,
  ];
  const line = lines.get(cmdline[0]?.hex ?? '');
  return {
    findings,
    ...(line === undefined ? {} : { commandLine: line }),
    ...(kernel[0] === undefined ? {} : { kernelSha256Hex: kernel[0].hex }),
    ...(initrd[0] === undefined ? {} : { initrdSha256Hex: initrd[0].hex }),
  };
}

function measured(boot: ReplayedBoot, pcr: number): Measured[] {
  const digests = boot.eventDigests(pcr);
  return boot.extended(pcr).map((event, index) => ({ hex: toHex(digests[index] ?? new Uint8Array()), event }));
}

function exactlyOne(part: Part, seen: readonly Measured[], expected: Iterable<string>): BootFinding[] {
  if (seen.length === 0) return [finding(`boot.${part}.missing`, BOOT_FINDINGS[`boot.${part}.missing`], { expected })];
  return seen
    .slice(1)
    .map((second) =>
      finding(`boot.${part}.several`, BOOT_FINDINGS[`boot.${part}.several`], { expected, seen: second }),
    );
}

function unknown(part: Part, seen: Measured, expected: Iterable<string>): BootFinding {
  const claim = `logged as ${seen.event.typeName} in PCR ${seen.event.pcr}`;
  return finding(`boot.${part}.unknown`, `${BOOT_FINDINGS[`boot.${part}.unknown`]} (${claim})`, { expected, seen });
}

function isLabelledLine(event: BootEvent): boolean {
  return toHex(event.data.subarray(0, 4)) === LOAD_OPTIONS_TAG;
}

function pinFindings(boot: ReplayedBoot, reference: BootReference): BootFinding[] {
  const findings: BootFinding[] = [];
  for (const [pcr, values] of reference.pcrs) {
    if (!PINNABLE_PCRS.has(pcr)) {
      findings.push(finding('boot.pcr.unquoted', `the reference pins PCR ${pcr}, which no quote covers`));
      continue;
    }
    const seenHex = toHex(boot.pcr(pcr));
    const expected = values.map(toHex);
    if (expected.includes(seenHex)) continue;
    findings.push(
      finding('boot.pcr.unexpected', `PCR ${pcr} has no value that the reference pins`, { expected, seenHex }),
    );
  }
  for (const pcr of CLOSED_PCRS.filter((number) => !reference.pcrs.has(number))) {
    for (const seen of measured(boot, pcr).filter(({ hex }) => !isSeparator(hex))) {
      findings.push(
        finding('boot.pcr.unexpected', `nothing explains an event of PCR ${pcr}; the reference must pin this PCR`, {
          seen,
        }),
      );
    }
  }
  if (!reference.pcrs.has(0)) {
    findings.push({ ...finding('boot.firmware.unpinned', BOOT_FINDINGS['boot.firmware.unpinned']), fatal: false });
  }
  return findings;
}

function finding(
  code: BootFindingCode,
  detail: string,
  facts: { expected?: Iterable<string>; seen?: Measured; seenHex?: string } = {},
): BootFinding {
  const seenSha256 = facts.seen?.hex ?? facts.seenHex;
  return {
    link: 'boot',
    code,
    subject: 'host',
    expectedSha256: [...(facts.expected ?? [])],
    ...(seenSha256 === undefined ? {} : { seenSha256 }),
    ...(facts.seen === undefined ? {} : { logIndex: facts.seen.event.index }),
    detail,
    fatal: true,
  };
}
