import { at } from '../bytes/at.ts';
import { toHex } from '../bytes/hex.ts';
import type { BootComponent } from './boot-reference.ts';
import { commandLineDigest, grubCommandLineDigest } from './command-line.ts';
import { describeEvent, grubText, isConfirmed } from './event-data.ts';
import type { BootEvent } from './event-log.ts';
import { isAnnouncement, isSecureBootOn, isSeparator } from './known-event.ts';
import type { ReplayedBoot } from './replayed-boot.ts';

/** What a boot would be approved by. Digests are of the boot's bank; names are labels, from what nothing proves. */
export interface LearntBoot {
  /** The last program of PCR 4. */
  readonly kernels: readonly Uint8Array[];
  /** The last event of PCR 9 that is no command line. */
  readonly initrds: readonly Uint8Array[];
  readonly commandLines: readonly string[];
  readonly components: readonly BootComponent[];
  readonly pcrs: ReadonlyMap<number, readonly Uint8Array[]>;
  readonly secureBoot: boolean;
}

/** PCRs that a boot's firmware fills: pinned as they are. */
const PINNED: readonly number[] = [0, 2, 3, 7];
/** PCRs whose events each become a component, where nothing else names them. */
const NAMED: readonly number[] = [4, 8, 9, 10, 12, 13, 14];

interface Item {
  readonly event: BootEvent;
  readonly digest: Uint8Array;
  readonly hex: string;
}

/**
 * Takes reference values from one boot of a machine that is known to be good: what `matchBoot` then accepts, and little
 * else. Which event is the kernel's and which the initrd's is a guess by position; people look at it before they approve.
 *
 * @param commandLines what the kernel may have been started with (/proc/cmdline): the log often holds its digest alone;
 *   those that were measured are kept
 */
export function learnBoot(boot: ReplayedBoot, commandLines: readonly string[] = []): LearntBoot {
  const lines = measuredLines(boot, [...commandLines, ...loggedLines(boot)]);
  const isLine = lineDigests(boot, lines);
  const items = NAMED.flatMap((pcr) => itemsOf(boot, pcr)).filter(
    ({ event, hex }) => !isLine.has(`${event.pcr}:${hex}`),
  );
  const kernel = items.findLast(({ event }) => event.pcr === 4);
  const initrd = items.findLast(({ event }) => event.pcr === 9);
  const known = [kernel, initrd].map((item) => item?.hex);
  const rest = items.filter(({ hex }) => !known.includes(hex));
  const [first] = boot.eventDigests(7);
  return {
    kernels: kernel === undefined ? [] : [kernel.digest],
    initrds: initrd === undefined ? [] : [initrd.digest],
    commandLines: lines,
    components: componentsOf(boot, rest),
    pcrs: new Map(PINNED.map((pcr) => [pcr, [boot.pcr(pcr)]])),
    secureBoot: first !== undefined && isSecureBootOn(toHex(first), boot.bank),
  };
}

function itemsOf(boot: ReplayedBoot, pcr: number): Item[] {
  const digests = boot.eventDigests(pcr);
  const isKnown = pcr === 4 ? isAnnouncement : isSeparator;
  return boot
    .extended(pcr)
    .map((event, index) => ({ event, digest: at(digests, index) }))
    .map((item) => ({ ...item, hex: toHex(item.digest) }))
    .filter(({ hex }) => !isKnown(hex, boot.bank));
}

/** Command lines that the log holds and its digests confirm: GRUB's of the kernel, and systemd-stub's. */
function loggedLines(boot: ReplayedBoot): string[] {
  const lines = boot
    .extended(8)
    .filter((event) => /^(grub_)?kernel_cmdline/.test(Buffer.from(event.data).toString('latin1')))
    .flatMap((event) => (isConfirmed(event, boot.bank) ? (grubText(event.data) ?? []) : []));
  const wide = boot
    .extended(12)
    .filter((event) => isConfirmed(event, boot.bank))
    .map((event) => Buffer.from(event.data).toString('utf16le').replace(/\0$/, ''));
  return [...lines, ...wide];
}

function measuredLines(boot: ReplayedBoot, candidates: readonly string[]): string[] {
  const seen = new Set([8, 9, 12].flatMap((pcr) => itemsOf(boot, pcr).map(({ hex }) => `${pcr}:${hex}`)));
  return [...new Set(candidates)].filter((line) => [...lineDigests(boot, [line])].some((key) => seen.has(key)));
}

function lineDigests({ bank }: ReplayedBoot, lines: readonly string[]): Set<string> {
  return new Set(
    lines.flatMap((line) => {
      const wide = toHex(commandLineDigest(line, bank));
      return [`8:${toHex(grubCommandLineDigest(line, bank))}`, `9:${wide}`, `12:${wide}`];
    }),
  );
}

/**
 * One component for each name and PCR: a text that was measured twice with different digests has both. Of PCR 4 one for
 * each program, since of a component's programs one alone may be started.
 */
function componentsOf(boot: ReplayedBoot, items: readonly Item[]): BootComponent[] {
  const components = new Map<string, BootComponent>();
  for (const { event, digest, hex } of items) {
    const name = describeEvent(event, boot.bank).text.slice(0, 120) || event.typeName;
    const key = event.pcr === 4 ? hex : `${event.pcr}:${name}`;
    const known = components.get(key) ?? { name, pcr: event.pcr, sha256: [], sha384: [], required: event.pcr === 4 };
    const digests = known[boot.bank].some((other) => toHex(other) === hex)
      ? known[boot.bank]
      : [...known[boot.bank], digest];
    components.set(key, { ...known, [boot.bank]: digests });
  }
  return [...components.values()];
}
