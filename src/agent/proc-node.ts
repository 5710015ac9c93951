import { release } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { type NodeObservation, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import { isMissing, readBounded } from './proc.ts';

/** Where the settings are read; other folders than the kernel's own only in tests. */
export interface NodePlaces {
  readonly sysctl: string;
  readonly lockdown: string;
}

const PLACES: NodePlaces = { sysctl: '/proc/sys', lockdown: '/sys/kernel/security/lockdown' };
const MAX_BYTES = 4096;

/**
 * What the node's kernel says of itself: claims, which the server weighs. A setting that the kernel doesn't have is 0,
 * others are kept plus one. Rejects with the system's error where a setting is there but can't be read.
 */
export async function observeNode({ sysctl, lockdown }: NodePlaces = PLACES): Promise<NodeObservation> {
  const [clone, kexec, ptrace, word] = await Promise.all([
    setting(`${sysctl}/kernel/unprivileged_userns_clone`),
    setting(`${sysctl}/kernel/kexec_load_disabled`),
    setting(`${sysctl}/kernel/yama/ptrace_scope`),
    textOf(lockdown),
  ]);
  return create(NodeObservationSchema, {
    unprivilegedUsernsClone: clone,
    kexecLoadDisabled: kexec,
    ptraceScope: ptrace,
    lockdown: /\[(\w+)\]/.exec(word ?? '')?.[1] ?? '',
    kernel: release(),
  });
}

async function setting(path: string): Promise<number> {
  const text = await textOf(path);
  if (text === undefined) return 0;
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${path} holds no number`);
  return value + 1;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return (await readBounded(path, MAX_BYTES)).toString('latin1').trim();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
