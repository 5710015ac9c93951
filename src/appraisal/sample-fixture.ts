/** Tests only: a folder of vectors/appraisal as a server sees it, through boot, ima and container. */
import { create } from '@bufbuild/protobuf';
import { parseEventLog } from '../boot/event-log.ts';
import { isAnnouncement } from '../boot/known-event.ts';
import { type ReplayedBoot, replayEventLog } from '../boot/replayed-boot.ts';
import { fromHex, toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { DomainBook } from '../container/domain-book.ts';
import { ownerOf } from '../container/owner.ts';
import { type ClaimedContainer, decodeContainer, encodeContainer, makeContainer } from '../container/record.ts';
import { parseUidMap } from '../container/uid-map.ts';
import { ListReplay } from '../ima/list-replay.ts';
import type { Measurement } from '../ima/measurement.ts';
import { type Container, type IdExtent, type Mount, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import type { ContainerEvidence } from './container-evidence.ts';
import { EpochAppraisal } from './epoch-appraisal.ts';
import { FileTable, type ReferenceFile } from './reference/file-table.ts';
import type { HostReference } from './reference/host-reference.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { hostFilesFromInitrd } from './reference/initrd-files.ts';

/** unprivileged_userns_clone=0, lockdown, no kexec, ptrace_scope=3; numbers are kept plus one. */
export const CLOSED_NODE = create(NodeObservationSchema, {
  unprivilegedUsernsClone: 1,
  lockdown: 'integrity',
  kexecLoadDisabled: 2,
  ptraceScope: 4,
});

export interface Sample {
  readonly boot: ReplayedBoot;
  readonly list: ListReplay;
  readonly entries: readonly Measurement[];
}

/** Reads a file of a sample; a link does no I/O, so the test does. */
export type SampleReader = (sample: string, name: string) => Buffer;

export function readSample(read: SampleReader, sample: string): Sample {
  const boot = replayEventLog(parseEventLog(read(sample, 'binary_bios_measurements')));
  const list = new ListReplay({ pcr10: boot.pcr(10), pcr13: boot.pcr(13), pcr14: boot.pcr(14) });
  return { boot, list, entries: list.append(read(sample, 'binary_runtime_measurements')) };
}

/** Lines of sha256sum. */
export function sumFiles(text: string, absolute = (name: string) => `/${name.replace(/^\.?\//, '')}`): ReferenceFile[] {
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.split(/ +/) as [string, string]);
  return rows.map(([hex, name]) => ({ path: absolute(name), sha256: fromHex(hex), mode: 0o755 }));
}

/** Reference values of a host as if it had been approved from a run: what it booted, and what its own entries are. */
export function hostFromRun(
  read: SampleReader,
  sample: string,
  { boot, entries }: Sample,
  initrd?: Uint8Array,
): HostReference {
  const policy = read(sample, 'policy').toString();
  const own = entries.filter(({ kind, template }) => kind === 'file' && template === 'ima-sig');
  const run = own.flatMap(({ path, fileDigest }) =>
    fileDigest ? [{ path, sha256: fromHex(fileDigest.hex), mode: 0o755 }] : [],
  );
  const commandLine = read(sample, 'cmdline').toString().trim();
  const known = new Set([toHex(sha256(Buffer.from(`${commandLine}\0`, 'utf16le')))]);
  const loaded = boot
    .eventDigests(9)
    .filter((digest) => !isAnnouncement(toHex(digest), 'sha256') && !known.has(toHex(digest)));
  return {
    name: sample,
    boot: {
      kernelSha256: boot.eventDigests(4).filter((digest) => !isAnnouncement(toHex(digest), 'sha256')),
      initrdSha256: initrd === undefined ? loaded : [sha256(initrd)],
      commandLines: [commandLine],
      pcrs: new Map([0, 2, 3, 7].map((pcr) => [pcr, [boot.pcr(pcr)]])),
    },
    policy,
    uidPoolBase: Number(/uid>(\d+)/.exec(policy)?.[1]) + 1,
    nextInit: '/labinit',
    files: FileTable.of([...run, ...(initrd === undefined ? [] : hostFilesFromInitrd(initrd).files)]),
  };
}

/** The extents of a NAME.proc file. */
export function uidMapOf(read: SampleReader, sample: string, name: string): IdExtent[] {
  const text = read(sample, name).toString();
  const lines = /uid_map\n((?:\s+\d+\s+\d+\s+\d+\n)+)/.exec(text)?.[1] ?? '';
  return parseUidMap(lines).map((extent) => ({ $typeName: 'lacre.v1.IdExtent', ...extent }));
}

export function mountOf(target: string, type: string, sourceKind: string, more: Partial<Mount> = {}): Mount {
  return {
    $typeName: 'lacre.v1.Mount',
    target,
    type,
    root: '/',
    readOnly: false,
    noexec: false,
    sourceKind,
    superOptions: '',
    peer: '0:99',
    ...more,
  };
}

/** A container as the agent tells it; what a test leaves out is as podman has it. */
export function claimContainer(
  name: string,
  fields: Omit<Partial<Container>, '$typeName' | '$unknown'>,
): ClaimedContainer {
  const seccompSha256 = sha256(Buffer.from('profile'));
  const id = toHex(sha256(Buffer.from(name)));
  const peer = `0:${Number.parseInt(id.slice(0, 6), 16)}`; // every root is a file system of its own
  const usual = {
    id,
    engine: 'podman',
    name,
    cwd: '/',
    mounts: [mountOf('/', 'overlay', 'root', { peer })],
    seccompMode: 2,
    seccompSha256,
    capabilities: 0x800405fbn,
  };
  return decodeContainer(encodeContainer(makeContainer({ ...usual, boundingCapabilities: 0x800405fbn, ...fields })));
}

/** A book of these containers, and the epoch fed with entries by their owners. */
export function settle(
  containers: readonly ClaimedContainer[],
  entries: readonly Measurement[],
  uidPoolBase: number,
  observation = CLOSED_NODE,
): { book: DomainBook; epoch: EpochAppraisal } {
  const book = new DomainBook(uidPoolBase);
  book.apply({ changed: containers, gone: [], complete: true, observation });
  const epoch = new EpochAppraisal();
  for (const entry of entries) epoch.feed(entry, ownerOf(entry, book.ranges, uidPoolBase));
  return { book, epoch };
}

/** `isDistinctive` over these images. */
export function distinctiveAmong(images: () => readonly ImageReference[]): ContainerEvidence['isDistinctive'] {
  return (image, path, hex) =>
    images().every((one) => (one.files.get(path)?.has(hex) === true) === (one.manifestDigest === image.manifestDigest));
}
