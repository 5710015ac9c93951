import { create } from '@bufbuild/protobuf';
import type { BankReference, BootComponent, BootReference } from '../../boot/boot-reference.ts';
import { LacreError } from '../../lacre-error.ts';
import {
  type BankReference as BankMessage,
  type HostReference as HostMessage,
  HostReferenceSchema,
} from '../../proto/lacre/v1/admin_pb.ts';
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
    ...(host.boot.sha384 === undefined ? {} : { sha384: bankMessage(host.boot.sha384) }),
    components: (host.boot.components ?? []).map((component) => ({
      ...component,
      sha256: [...component.sha256],
      sha384: [...component.sha384],
    })),
    secureBoot: host.boot.secureBoot ?? false,
    policy: host.policy,
    uidPoolBase: host.uidPoolBase,
    nextInit: host.nextInit,
    fileCount: BigInt(host.files.size),
  });
}

/** From the wire or the store. Throws appraisal.host.malformed, appraisal.files.malformed. */
export function hostReferenceOf(message: HostMessage, files: FileTable | Iterable<ReferenceFile>): HostReference {
  const rows = files instanceof FileTable ? files : [...files];
  const [table, given] = rows instanceof FileTable ? [rows, rows.size] : [FileTable.of(rows), rows.length];
  const fail = failOf(message.name);
  const boot = bootReferenceOf(message);
  if (message.fileCount !== BigInt(given)) throw fail(`${message.fileCount} files are announced, ${given} were given`);
  if (message.nextInit !== '' && table.get(message.nextInit) === undefined)
    throw fail('the first program of the root is none of its files');
  return {
    name: message.name,
    boot,
    policy: message.policy,
    uidPoolBase: message.uidPoolBase,
    nextInit: listSpelling(message.nextInit),
    files: table,
  };
}

/** What of reference values a boot is held against, without files. Throws appraisal.host.malformed. */
export function bootReferenceOf(message: HostMessage): BootReference {
  const fail = failOf(message.name);
  const pcrs = Object.entries(message.pcrs).map(([pcr, values]) => [Number(pcr), values.sha256] as const);
  const digests = [...message.kernelSha256, ...message.initrdSha256, ...pcrs.flatMap(([, values]) => values)];
  if (message.name === '') throw fail('they have no name');
  if (digests.some((digest) => digest.length !== 32)) throw fail('a digest has not 32 bytes');
  return {
    kernelSha256: message.kernelSha256,
    initrdSha256: message.initrdSha256,
    commandLines: message.commandLines,
    pcrs: new Map(pcrs),
    ...bootExtras(message, fail),
  };
}

/** PCRs that a quote covers, and firmware or loaders measure into. */
const COMPONENT_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14];
const MAX_COMPONENTS = 1024;

type Fail = (why: string) => LacreError;

function failOf(name: string): Fail {
  const host = JSON.stringify(name);
  return (why) =>
    new LacreError('appraisal.host.malformed', `the reference values of host ${host} are not usable: ${why}`);
}

/** What nodes need that boot by shim and GRUB, or have the bank SHA-384: left out where the message has none. */
function bootExtras(message: HostMessage, fail: Fail): Pick<BootReference, 'components' | 'secureBoot' | 'sha384'> {
  const components = componentsOf(message, fail);
  const sha384 = message.sha384 === undefined ? undefined : bankOf(message.sha384, fail);
  return {
    ...(components.length === 0 ? {} : { components }),
    ...(message.secureBoot ? { secureBoot: true } : {}),
    ...(sha384 === undefined ? {} : { sha384 }),
  };
}

function componentsOf(message: HostMessage, fail: Fail): BootComponent[] {
  if (message.components.length > MAX_COMPONENTS) throw fail(`more than ${MAX_COMPONENTS} components`);
  return message.components.map(({ name, pcr, sha256, sha384, required }) => {
    if (name === '') throw fail('a component has no name');
    if (!COMPONENT_PCRS.includes(pcr)) throw fail(`${name} is in PCR ${pcr}, which no quote covers`);
    const wrong = sha256.some(({ length }) => length !== 32) || sha384.some(({ length }) => length !== 48);
    if (wrong || sha256.length + sha384.length === 0) throw fail(`a digest of ${name} is missing or too short`);
    return { name, pcr, sha256, sha384, required };
  });
}

function bankOf(bank: BankMessage, fail: Fail): BankReference {
  const values = [...bank.kernels, ...bank.initrds, ...bank.pcrs.flatMap((pinned) => pinned.values)];
  if (values.some(({ length }) => length !== 48)) throw fail('a SHA-384 digest has not 48 bytes');
  const pcrs = new Map(bank.pcrs.map((pinned) => [pinned.pcr, pinned.values]));
  return { kernels: bank.kernels, initrds: bank.initrds, pcrs };
}

function bankMessage({ kernels, initrds, pcrs }: BankReference) {
  return {
    kernels: [...kernels],
    initrds: [...initrds],
    pcrs: [...pcrs].map(([pcr, values]) => ({ pcr, values: [...values] })),
  };
}
