import { LacreError } from '../lacre-error.ts';

/** What Lacre reads of /proc/PID/status (proc_pid_status(5)). Uids are the host's where a process of the host reads. */
export interface ProcessStatus {
  readonly pid: number;
  readonly parentPid: number;
  /** Effective. */
  readonly uid: number;
  readonly gid: number;
  /** Pids in the nested pid namespaces, the reader's first. */
  readonly namespacePids: readonly number[];
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly ambient: bigint;
  readonly bounding: bigint;
  readonly noNewPrivs: boolean;
  /** 0 none, 1 strict, 2 filter. */
  readonly seccompMode: number;
}

/** Lines that are read; each stands once. */
const FIELDS: ReadonlySet<string> = new Set(
  'Pid PPid Uid Gid NSpid CapEff CapPrm CapAmb CapBnd NoNewPrivs Seccomp'.split(' '),
);
const INITIALS: ReadonlySet<number> = new Set([...FIELDS].map((name) => name.charCodeAt(0)));
const MAX_BYTES = 64 * 1024;
const UNSIGNED_32 = 0xffff_ffff;

/**
 * Parses /proc/PID/status. The kernel escapes newlines in the name, so no process can make a line of its own; a field
 * of those above that stands twice is refused nevertheless.
 * Throws container.proc.malformed.
 */
export function parseProcessStatus(text: string): ProcessStatus {
  if (text.length > MAX_BYTES) throw malformed('text', 'over its bound');
  const values = fieldsOf(text);
  const value = (name: string): string => {
    const found = values.get(name);
    if (found === undefined) throw malformed(name, 'missing');
    return found;
  };
  return {
    pid: decimal('Pid', value('Pid')),
    parentPid: decimal('PPid', value('PPid')),
    uid: effectiveId('Uid', value('Uid')),
    gid: effectiveId('Gid', value('Gid')),
    namespacePids: value('NSpid')
      .split('\t')
      .map((part) => decimal('NSpid', part)),
    effective: mask('CapEff', value('CapEff')),
    permitted: mask('CapPrm', value('CapPrm')),
    ambient: mask('CapAmb', value('CapAmb')),
    bounding: mask('CapBnd', value('CapBnd')),
    noNewPrivs: decimal('NoNewPrivs', value('NoNewPrivs')) === 1,
    seccompMode: decimal('Seccomp', value('Seccomp')),
  };
}

/** In one pass: it is read of every process each second. */
function fieldsOf(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (let start = 0, end: number; start < text.length; start = end + 1) {
    end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    if (!INITIALS.has(text.charCodeAt(start))) continue;
    const line = text.slice(start, end);
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    if (!FIELDS.has(name)) continue;
    if (values.has(name)) throw malformed(name, 'there twice');
    values.set(name, line.slice(colon + 1).trim());
  }
  return values;
}

/**
 * Start time of a process in clock ticks since boot: field 22 of /proc/PID/stat. The name in parentheses may hold
 * anything, so fields count from the last closing one. Together with a pid it names a process once per boot.
 * Throws container.proc.malformed.
 */
export function parseStartTicks(text: string): bigint {
  const fields = text
    .slice(text.lastIndexOf(')') + 1)
    .trim()
    .split(' ', 20);
  const ticks = fields[19];
  if (ticks === undefined || !/^\d{1,20}$/.test(ticks)) throw malformed('field 22', 'missing', 'stat');
  return BigInt(ticks);
}

/** Real, effective, saved and file system id: the second. */
function effectiveId(name: string, text: string): number {
  const [, effective, , file, ...more] = text.split('\t').map((id) => decimal(name, id));
  if (effective === undefined || file === undefined || more.length > 0) throw malformed(name, 'not of four ids');
  return effective;
}

function decimal(name: string, text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) > UNSIGNED_32) throw malformed(name, 'no decimal number');
  return Number(text);
}

function mask(name: string, text: string): bigint {
  if (!/^[0-9a-f]{16}$/.test(text)) throw malformed(name, 'no mask of 64 bits');
  return BigInt(`0x${text}`);
}

function malformed(name: string, fault: string, file: 'status' | 'stat' = 'status'): LacreError {
  return new LacreError('container.proc.malformed', `/proc/PID/${file} is malformed: ${name} is ${fault}`);
}
