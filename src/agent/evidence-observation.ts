import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import { type NodeObservation, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';

const MAX_EVENT_LOG_BYTES = 1024 * 1024;

/** What the agent reads of its own node: claims, each of which root could have changed a moment ago. */
export async function observeNode(): Promise<NodeObservation> {
  const [userns, lockdown, kexec, ptrace] = await Promise.all([
    setting('/proc/sys/kernel/unprivileged_userns_clone'),
    text('/sys/kernel/security/lockdown'),
    setting('/proc/sys/kernel/kexec_load_disabled'),
    setting('/proc/sys/kernel/yama/ptrace_scope'),
  ]);
  return create(NodeObservationSchema, {
    unprivilegedUsernsClone: userns,
    lockdown: /\[([a-z]{1,32})\]/.exec(lockdown)?.[1] ?? '',
    kernel: release().slice(0, 256),
    kexecLoadDisabled: kexec,
    ptraceScope: ptrace,
  });
}

/** A kernel setting plus one; 0: this kernel has no such setting, or it can't be read. */
async function setting(path: string): Promise<number> {
  const match = /^(\d{1,6})\n?$/.exec(await text(path));
  return match?.[1] === undefined ? 0 : Number(match[1]) + 1;
}

async function text(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(() => '');
}

/**
 * The firmware's event log. Empty where the kernel shows none: then the server finds what the boot lacks.
 * Codes: agent.eventlog.unreadable.
 */
export async function readEventLog(path: string): Promise<Uint8Array> {
  try {
    const bytes = await readFile(path);
    if (bytes.length <= MAX_EVENT_LOG_BYTES) return new Uint8Array(bytes);
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    if (reason === 'ENOENT') return new Uint8Array();
    throw new LacreError(
      'agent.eventlog.unreadable',
      `the event log ${path} can't be read: ${reason}`,
      { path },
      { cause },
    );
  }
  throw new LacreError('agent.eventlog.unreadable', `the event log ${path} is longer than 1 MiB`, { path });
}
