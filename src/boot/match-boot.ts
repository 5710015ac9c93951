import { at } from '../bytes/at.ts';
import { toHex } from '../bytes/hex.ts';
import { BOOT_FINDINGS, type BootFinding, type BootFindingCode } from './boot-finding.ts';
import { type BootComponent, type BootReference, bankReference } from './boot-reference.ts';
import { commandLineDigest, grubCommandLineDigest } from './command-line.ts';
import type { BootEvent } from './event-log.ts';
import { isAnnouncement, isSecureBootOff, isSecureBootOn, isSeparator } from './known-event.ts';
import type { ReplayedBoot } from './replayed-boot.ts';

export type { BootComponent, BootReference } from './boot-reference.ts';

/** Result of matchBoot; names what was recognised. Digests are of the boot's bank. */
export interface BootMatch {
  readonly findings: readonly BootFinding[];
  /** The approved command line that the kernel was started with. */
  readonly commandLine?: string;
  readonly kernelSha256Hex?: string;
  readonly initrdSha256Hex?: string;
}

/** PCRs that must hold nothing but separators and what the reference names, unless pinned. 8 and 12: loaders. 10, 13,
 * 14: the measurement list starts there, and an entry moved from the list into the log would be seen by nobody. */
const CLOSED_PCRS: readonly number[] = [8, 10, 12, 13, 14];
const PINNABLE_PCRS: ReadonlySet<number> = new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]);
/** Tag that the kernel gives the command line's event (LOAD_OPTIONS_EVENT_TAG_ID): a claim, good for wording alone. */
const LOAD_OPTIONS_TAG = 'ed223b8f';

type Part = 'kernel' | 'initrd' | 'cmdline';

interface Measured {
  readonly hex: string;
  readonly event: BootEvent;
}

/** The reference values of one bank, by digest. */
interface Approved {
  readonly kernels: ReadonlySet<string>;
  readonly initrds: ReadonlySet<string>;
  /** By PCR: first where the kernel itself measures it (EFI stub), then systemd-stub, then GRUB. */
  readonly lines: ReadonlyMap<number, ReadonlyMap<string, string>>;
  /** By PCR, then digest. */
  readonly components: ReadonlyMap<number, ReadonlyMap<string, BootComponent>>;
  readonly pcrs: ReadonlyMap<number, readonly Uint8Array[]>;
}

/**
 * Compares a boot with what the host may boot: one approved kernel in PCR 4, one approved command line, at most one
 * approved initrd in PCR 9, the approved components beside them, nothing else in PCR 4, 8, 9, 10, 12, 13 and 14; pinned
 * PCRs at a pinned value; Secure Boot, where it is asked for. Digests alone decide; types and data of events are claims.
 * Returns all findings; none fatal means that all of this holds, once a quote explains `boot`.
 */
export function matchBoot(boot: ReplayedBoot, reference: BootReference): BootMatch {
  const approved = approvedOf(boot, reference);
  const seen = (pcr: number) => measured(boot, pcr);
  const programs = seen(4).filter(({ hex }) => !isAnnouncement(hex, boot.bank));
  const loaded = seen(9).filter(({ hex }) => !isSeparator(hex, boot.bank));
  const others = [
    ...closedFindings(boot, approved),
    ...componentFindings(boot, reference.components ?? [], approved),
    ...secureBootFindings(boot, reference),
    ...pinFindings(boot, approved),
  ];
  if (programs.length === 0 && loaded.length === 0) {
    return { findings: [finding('boot.none', BOOT_FINDINGS['boot.none']), ...others] };
  }
  const kernel = programs.filter(({ hex }) => approved.kernels.has(hex));
  const initrd = loaded.filter(({ hex }) => approved.initrds.has(hex));
  const [line] = [...approved.lines].flatMap(([pcr, lines]) => seen(pcr).flatMap(({ hex }) => lines.get(hex) ?? []));
  const findings = [
    ...programs
      .filter(({ hex }) => !isKnown(approved, 4, hex))
      .map((item) => unknown('kernel', item, approved.kernels)),
    ...exactlyOne('kernel', approved.components.has(4) ? distinct(kernel) : kernel, approved.kernels),
    ...loaded.filter(({ hex }) => !isKnown(approved, 9, hex)).map((item) => unknownOfNine(item, approved)),
    ...commandLineFindings(boot, approved),
    ...initrdFindings(initrd, approved),
    ...others,
  ];
  return {
    findings,
    ...(line === undefined ? {} : { commandLine: line }),
    ...(kernel[0] === undefined ? {} : { kernelSha256Hex: kernel[0].hex }),
    ...(initrd[0] === undefined ? {} : { initrdSha256Hex: initrd[0].hex }),
  };
}

function approvedOf({ bank }: ReplayedBoot, reference: BootReference): Approved {
  const { kernels, initrds, pcrs } = bankReference(reference, bank);
  const utf16 = new Map(reference.commandLines.map((line) => [toHex(commandLineDigest(line, bank)), line]));
  const text = new Map(reference.commandLines.map((line) => [toHex(grubCommandLineDigest(line, bank)), line]));
  const components = new Map<number, Map<string, BootComponent>>();
  for (const component of reference.components ?? []) {
    const ofPcr = components.get(component.pcr) ?? new Map<string, BootComponent>();
    for (const digest of component[bank]) ofPcr.set(toHex(digest), component);
    components.set(component.pcr, ofPcr);
  }
  return {
    kernels: new Set(kernels.map(toHex)),
    initrds: new Set(initrds.map(toHex)),
    lines: new Map([
      [9, utf16],
      [12, utf16],
      [8, text],
    ]),
    components,
    pcrs,
  };
}

/** Whether the reference names what was measured. */
function isKnown(approved: Approved, pcr: number, hex: string): boolean {
  return (
    (pcr === 4 && approved.kernels.has(hex)) ||
    (pcr === 9 && approved.initrds.has(hex)) ||
    approved.lines.get(pcr)?.has(hex) === true ||
    approved.components.get(pcr)?.has(hex) === true
  );
}

function measured(boot: ReplayedBoot, pcr: number): Measured[] {
  const digests = boot.eventDigests(pcr);
  return boot.extended(pcr).map((event, index) => ({ hex: toHex(at(digests, index)), event }));
}

function exactlyOne(part: Part, seen: readonly Measured[], expected: Iterable<string>): BootFinding[] {
  if (seen.length === 0) return [finding(`boot.${part}.missing`, BOOT_FINDINGS[`boot.${part}.missing`], { expected })];
  return several(part, seen, expected);
}

function several(part: Part, seen: readonly Measured[], expected: Iterable<string>): BootFinding[] {
  return seen
    .slice(1)
    .map((second) =>
      finding(`boot.${part}.several`, BOOT_FINDINGS[`boot.${part}.several`], { expected, seen: second }),
    );
}

/** A loader may measure a kernel when it checks it, and again when it starts it. */
function distinct(seen: readonly Measured[]): Measured[] {
  return seen.filter(({ hex }, index) => seen.findIndex((other) => other.hex === hex) === index);
}

/** One line in each PCR that holds one, and at least one in all: a loader and the kernel may both measure it. */
function commandLineFindings(boot: ReplayedBoot, approved: Approved): BootFinding[] {
  const found = [...approved.lines].map(([pcr, lines]) => ({
    expected: [...lines.keys()],
    seen: measured(boot, pcr).filter(({ hex }) => lines.has(hex)),
  }));
  if (found.every(({ seen }) => seen.length === 0)) return exactlyOne('cmdline', [], at(found, 0).expected);
  return found.flatMap(({ expected, seen }) => several('cmdline', seen, expected));
}

/** GRUB measures the file, and the kernel what it was given: the same twice, where the reference knows of GRUB's files. */
function initrdFindings(seen: readonly Measured[], { initrds, components }: Approved): BootFinding[] {
  if (initrds.size === 0) return [];
  return exactlyOne('initrd', components.has(9) ? seen.slice(0, 1) : seen, initrds);
}

function unknown(part: Part, seen: Measured, expected: Iterable<string>): BootFinding {
  const claim = `logged as ${seen.event.typeName} in PCR ${seen.event.pcr}`;
  return finding(`boot.${part}.unknown`, `${BOOT_FINDINGS[`boot.${part}.unknown`]} (${claim})`, { expected, seen });
}

function unknownOfNine(seen: Measured, { lines, initrds }: Approved): BootFinding {
  const isLine = toHex(seen.event.data.subarray(0, 4)) === LOAD_OPTIONS_TAG;
  return isLine ? unknown('cmdline', seen, at([...lines.values()], 0).keys()) : unknown('initrd', seen, initrds);
}

function closedFindings(boot: ReplayedBoot, approved: Approved): BootFinding[] {
  return CLOSED_PCRS.filter((pcr) => !approved.pcrs.has(pcr)).flatMap((pcr) =>
    measured(boot, pcr)
      .filter(({ hex }) => !isSeparator(hex, boot.bank) && !isKnown(approved, pcr, hex))
      .map((seen) =>
        finding(
          'boot.pcr.unexpected',
          `nothing explains an event of PCR ${pcr}; the reference must name it, or pin this PCR`,
          { seen },
        ),
      ),
  );
}

/** What must be there, and of PCR 4 what is there twice: a program that was started again. */
function componentFindings(
  boot: ReplayedBoot,
  components: readonly BootComponent[],
  approved: Approved,
): BootFinding[] {
  return components.flatMap((component) => {
    const ofPcr = approved.components.get(component.pcr);
    const seen = measured(boot, component.pcr).filter(({ hex }) => ofPcr?.get(hex) === component);
    const expected = component[boot.bank].map(toHex);
    if (seen.length === 0 && component.required) {
      const sentence = `${component.name} was not measured into PCR ${component.pcr}`;
      return [finding('boot.component.missing', sentence, { expected })];
    }
    return (component.pcr === 4 ? seen.slice(1) : []).map((second) =>
      finding('boot.component.several', `${component.name} was started more than once`, { expected, seen: second }),
    );
  });
}

/** The first event of PCR 7 is the variable SecureBoot (PFP 10.4.1); its digest is of the value 1, and none of 0 follows. */
function secureBootFindings(boot: ReplayedBoot, { secureBoot }: BootReference): BootFinding[] {
  if (secureBoot !== true) return [];
  const [first, ...rest] = measured(boot, 7);
  const isOn = first !== undefined && isSecureBootOn(first.hex, boot.bank);
  if (isOn && rest.every(({ hex }) => !isSecureBootOff(hex, boot.bank))) return [];
  return [
    finding('boot.secureboot.off', BOOT_FINDINGS['boot.secureboot.off'], first === undefined ? {} : { seen: first }),
  ];
}

function pinFindings(boot: ReplayedBoot, { pcrs }: Approved): BootFinding[] {
  const findings: BootFinding[] = [];
  for (const [pcr, values] of pcrs) {
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
  if (!pcrs.has(0)) {
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
