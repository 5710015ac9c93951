import { create } from '@bufbuild/protobuf';
import type { ReferenceFile } from '../appraisal/reference/file-table.ts';
import { hostFilesFromInitrd } from '../appraisal/reference/initrd-files.ts';
import { authenticodeSha256 } from '../boot/authenticode.ts';
import { parseEventLog } from '../boot/event-log.ts';
import { replayEventLog } from '../boot/replayed-boot.ts';
import { sha256 } from '../bytes/sha256.ts';
import { imaPolicy } from '../ima/policy.ts';
import { LacreError } from '../lacre-error.ts';
import { type HostReference, HostReferenceSchema } from '../proto/lacre/v1/admin_pb.ts';
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
  const files = [...contents.files];
  for await (const file of hostFiles(sources.root)) files.push(file);
  const reference = create(HostReferenceSchema, {
    name: sources.name,
    kernelSha256: [authenticodeSha256(await readFile(sources.kernel))],
    initrdSha256: [sha256(initrd)],
    commandLines: [...sources.commandLine],
    pcrs: await pinnedValues(sources.eventLog, readFile),
    policy,
    uidPoolBase: sources.uidPoolBase,
    nextInit: sources.nextInit,
    fileCount: BigInt(files.length),
  });
  return { reference, files };
}

async function pinnedValues(
  logs: readonly string[],
  readFile: (path: string) => Promise<Uint8Array>,
): Promise<HostReference['pcrs']> {
  const boots = await Promise.all(logs.map(async (path) => replayEventLog(parseEventLog(await readFile(path)))));
  return Object.fromEntries(
    PINNED_PCRS.map((pcr) => [pcr, { $typeName: 'lacre.v1.PcrValues', sha256: boots.map((boot) => boot.pcr(pcr)) }]),
  );
}
