import { create } from '@bufbuild/protobuf';
import type { BootReference } from '../../boot/match-boot.ts';
import { LacreError } from '../../lacre-error.ts';
import { type HostReference as HostMessage, HostReferenceSchema } from '../../proto/lacre/v1/admin_pb.ts';
import { FileTable, type ReferenceFile } from './file-table.ts';
import { listSpelling } from './reference-path.ts';

/** Reference values of a host: what a node may boot, and what its root may run. */
export interface HostReference {
  readonly name: string;
  readonly boot: BootReference;
  /** The IMA policy that the approved initrd loads; empty: not known. */
  readonly policy: string;
  /** First uid of the pool that containers' ranges come from. */
  readonly uidPoolBase: number;
  /** First program of the root, absolute; empty: not known. */
  readonly nextInit: string;
  /** Files of the initrd and of the root. */
  readonly files: FileTable;
}

/** As it travels, without its files. */
export function hostReferenceMessage(host: HostReference): HostMessage {
  return create(HostReferenceSchema, {
    name: host.name,
    kernelSha256: [...host.boot.kernelSha256],
    initrdSha256: [...host.boot.initrdSha256],
    commandLines: [...host.boot.commandLines],
    pcrs: Object.fromEntries([...host.boot.pcrs].map(([pcr, sha256]) => [pcr, { sha256: [...sha256] }])),
    policy: host.policy,
    uidPoolBase: host.uidPoolBase,
    nextInit: host.nextInit,
    fileCount: BigInt(host.files.size),
  });
}

/** From the wire or the store. Throws appraisal.host.malformed, appraisal.files.malformed. */
export function hostReferenceOf(message: HostMessage, files: FileTable | Iterable<ReferenceFile>): HostReference {
  const rows = files instanceof FileTable ? undefined : [...files];
  const table = files instanceof FileTable ? files : FileTable.of(rows ?? []);
  const given = rows?.length ?? table.size;
  const pcrs = Object.entries(message.pcrs).map(([pcr, values]) => [Number(pcr), values.sha256] as const);
  const digests = [...message.kernelSha256, ...message.initrdSha256, ...pcrs.flatMap(([, values]) => values)];
  const fail = (why: string) =>
    new LacreError(
      'appraisal.host.malformed',
      `the reference values of host ${JSON.stringify(message.name)} are not usable: ${why}`,
    );
  if (message.name === '') throw fail('they have no name');
  if (digests.some((digest) => digest.length !== 32)) throw fail('a digest has not 32 bytes');
  if (message.fileCount !== BigInt(given)) throw fail(`${message.fileCount} files are announced, ${given} were given`);
  if (message.nextInit !== '' && table.get(message.nextInit) === undefined)
    throw fail('the first program of the root is none of its files');
  return {
    name: message.name,
    boot: {
      kernelSha256: message.kernelSha256,
      initrdSha256: message.initrdSha256,
      commandLines: message.commandLines,
      pcrs: new Map(pcrs),
    },
    policy: message.policy,
    uidPoolBase: message.uidPoolBase,
    nextInit: listSpelling(message.nextInit),
    files: table,
  };
}
