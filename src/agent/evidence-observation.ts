import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import { type NodeObservation, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import { readKernelFile } from './proc.ts';

const MAX_EVENT_LOG_BYTES = 1024 * 1024;
const MAX_SETTING_BYTES = 4096;

/** What the agent reads of its own node: claims, each of which root could have changed a moment ago. */
export function observeNode(): NodeObservation {
  return create(NodeObservationSchema, {
    unprivilegedUsernsClone: setting('/proc/sys/kernel/unprivileged_userns_clone'),
    lockdown: /\[([a-z]{1,32})\]/.exec(text('/sys/kernel/security/lockdown'))?.[1] ?? '',
    kernel: release().slice(0, 256),
    kexecLoadDisabled: setting('/proc/sys/kernel/kexec_load_disabled'),
    ptraceScope: setting('/proc/sys/kernel/yama/ptrace_scope'),
  });
}

/** A kernel setting plus one; 0: this kernel has no such setting, or it can't be read. */
function setting(path: string): number {
  const match = /^(\d{1,6})\n?$/.exec(text(path));
  return match?.[1] === undefined ? 0 : Number(match[1]) + 1;
}

/** The kernel makes these files while they are read. */
function text(path: string): string {
  try {
    return readKernelFile(path, MAX_SETTING_BYTES).toString('latin1');
  } catch {
    return '';
  }
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
