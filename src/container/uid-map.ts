import { LacreError } from '../lacre-error.ts';

/** One line of /proc/PID/uid_map (user_namespaces(7)): `length` ids from `inside` are those from `outside` in the parent. */
export interface UidExtent {
  readonly inside: number;
  readonly outside: number;
  readonly length: number;
}

/** Uids of the host: `length` of them from `base`. */
export interface UidRange {
  readonly base: number;
  readonly length: number;
}

/** The kernel's own bound (UID_GID_MAP_MAX_EXTENTS). */
const MAX_EXTENTS = 340;
/** 2^32 - 1: the identity map of the first user namespace covers 0 to 2^32 - 2. */
const ALL_IDS = 0xffff_ffff;

/** Parses /proc/PID/uid_map as read by a process of the host. Throws container.proc.malformed. */
export function parseUidMap(text: string): UidExtent[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length > MAX_EXTENTS) throw malformed(`${lines.length} extents`);
  return lines.map((line) => {
    const fields = /^\s*(\d{1,10})\s+(\d{1,10})\s+(\d{1,10})\s*$/.exec(line);
    if (fields === null) throw malformed(quoted(line));
    const [inside, outside, length] = fields.slice(1).map(Number) as [number, number, number];
    if (length === 0 || inside + length - 1 > ALL_IDS || outside + length - 1 > ALL_IDS) throw malformed(quoted(line));
    return { inside, outside, length };
  });
}

/** Whether a map is that of the first user namespace: every id is itself. */
export function isIdentityMap(map: readonly UidExtent[]): boolean {
  const [only, ...more] = map;
  return only !== undefined && more.length === 0 && only.inside === 0 && only.outside === 0 && only.length === ALL_IDS;
}

/** The host's uids of a user namespace of exactly one extent that isn't the host's own; else undefined. */
export function rangeOf(map: readonly UidExtent[]): UidRange | undefined {
  const [only, ...more] = map;
  if (only === undefined || more.length > 0 || isIdentityMap(map)) return undefined;
  return { base: only.outside, length: only.length };
}

export function overlaps(a: UidRange, b: UidRange): boolean {
  return a.base < b.base + b.length && b.base < a.base + a.length;
}

export function sameRange(a: UidRange, b: UidRange): boolean {
  return a.base === b.base && a.length === b.length;
}

/** Name of a range, or of what has none: a domain's id. */
export function rangeKey(range: UidRange | undefined): string {
  return range === undefined ? 'shared' : `range:${range.base}+${range.length}`;
}

function quoted(line: string): string {
  return JSON.stringify(line.slice(0, 80));
}

function malformed(what: string): LacreError {
  return new LacreError('container.proc.malformed', `uid_map is malformed: ${what}`);
}
