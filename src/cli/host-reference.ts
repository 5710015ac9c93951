import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { ReferenceFile } from '../appraisal/reference/file-table.ts';
import { hostFilesFromInitrd, type InitrdContents } from '../appraisal/reference/initrd-files.ts';
import { authenticodeDigest, authenticodeSha256 } from '../boot/authenticode.ts';
import { parseEventLog } from '../boot/event-log.ts';
import { bankOf, type ReplayedBoot, replayEventLog } from '../boot/replayed-boot.ts';
import { sha256 } from '../bytes/sha256.ts';
import { imaPolicy } from '../ima/policy.ts';
import { LacreError } from '../lacre-error.ts';
import { type HostReference, HostReferenceSchema } from '../proto/lacre/v1/admin_pb.ts';
import { bootFile } from './host-boot.ts';
import { hostFiles } from './host-files.ts';

/** What `lacre host approve` is given: files that a host is made of. */
export interface HostSources {
  readonly name: string;
  readonly root: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: readonly string[];
  readonly eventLog: readonly string[];
  readonly uidPoolBase: number;
  readonly nextInit: string;
  /** File of `lacre host learn`: components, Secure Boot, initrds that the loader put together. */
  readonly boot?: string;
  readonly secureBoot?: true;
}

/** PCRs whose values are pinned as a reference machine has them: firmware, option ROMs, their configuration, Secure Boot. */
export const PINNED_PCRS: readonly number[] = [0, 2, 3, 7];

/**
 * Reference values from files. The initrd must hold the policy that `lacre node prepare` writes for this pool: that is
 * what proves, on a node that booted it, which policy is in force. Throws cli.file.invalid, boot.*, appraisal.*.
 */
export async function hostReference(
  sources: HostSources,
  { readFile }: { readFile: (path: string) => Promise<Uint8Array> },
): Promise<{ reference: HostReference; files: ReferenceFile[] }> {
  const initrd = await readFile(sources.initrd);
  const contents = await hostFilesFromInitrd(initrd);
  const policy = imaPolicy(sources.uidPoolBase);
  if (contents.policy === undefined || new TextDecoder().decode(contents.policy) !== policy) {
    throw new LacreError(
      'cli.file.invalid',
      `${sources.initrd} does not hold /policy as lacre node prepare writes it for uids from ${sources.uidPoolBase} on`,
      { initrd: sources.initrd },
    );
  }
  checkFirstProgram(contents, sources.commandLine);
  const files = [...contents.files];
  for await (const file of hostFiles(sources.root)) files.push(file);
  const kernel = await readFile(sources.kernel);
  const learnt = sources.boot === undefined ? undefined : await bootFile(sources.boot);
  const boots = await Promise.all(sources.eventLog.map(async (path) => replayLog(await readFile(path))));
  const reference = create(HostReferenceSchema, {
    name: sources.name,
    kernelSha256: [authenticodeSha256(kernel)],
    initrdSha256: [sha256(initrd)],
    commandLines: [...sources.commandLine],
    pcrs: pinnedSha256(boots.filter(({ bank }) => bank === 'sha256')),
    sha384: {
      kernels: [authenticodeDigest(kernel, 'sha384')],
      initrds: [new Uint8Array(createHash('sha384').update(initrd).digest())],
      pcrs: pinnedSha384(boots.filter(({ bank }) => bank === 'sha384')),
    },
    components: learnt?.components ?? [],
    secureBoot: sources.secureBoot ?? learnt?.secureBoot ?? false,
    policy,
    uidPoolBase: sources.uidPoolBase,
    nextInit: sources.nextInit,
    fileCount: BigInt(files.length),
  });
  return { reference, files };
}

/**
 * An initrd of a distribution that holds the policy and /lacre/seal loads it only where the command line says so: without
 * that, whoever comes later could load another policy. Throws cli.file.invalid.
 */
function checkFirstProgram({ files }: InitrdContents, commandLines: readonly string[]): void {
  const seal = files.get('/lacre/seal');
  const init = files.get('/init');
  if (seal === undefined || [...seal].some((digest) => init?.has(digest))) return;
  const without = commandLines.find((line) => lastOf(line, 'rdinit') !== '/lacre/seal');
  if (without === undefined) return;
  throw new LacreError(
    'cli.file.invalid',
    `the initrd has /lacre/seal beside an /init of its own, and this command line does not start it: ${without}; rdinit=/lacre/seal is wanted`,
  );
}

/** Value of the last parameter of this name, as the kernel takes it. */
function lastOf(line: string, name: string): string | undefined {
  return line
    .split(/\s+/)
    .filter((word) => word.startsWith(`${name}=`))
    .at(-1)
    ?.slice(name.length + 1);
}

function replayLog(bytes: Uint8Array): ReplayedBoot {
  const events = parseEventLog(bytes);
  return replayEventLog(events, bankOf(events));
}

/** No pins without a log of the bank: PCR 0 then is unpinned, and told as such. */
function pinnedSha256(boots: readonly ReplayedBoot[]): HostReference['pcrs'] {
  return Object.fromEntries(
    (boots.length === 0 ? [] : PINNED_PCRS).map((pcr) => [
      pcr,
      { $typeName: 'lacre.v1.PcrValues', sha256: boots.map((boot) => boot.pcr(pcr)) },
    ]),
  );
}

function pinnedSha384(boots: readonly ReplayedBoot[]): { pcr: number; values: Uint8Array[] }[] {
  return (boots.length === 0 ? [] : PINNED_PCRS).map((pcr) => ({ pcr, values: boots.map((boot) => boot.pcr(pcr)) }));
}
