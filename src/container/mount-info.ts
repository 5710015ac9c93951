import { LacreError } from '../lacre-error.ts';
import { pathText } from './path-text.ts';

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). Paths are as the process sees them, by pathText. */
export interface MountLine {
  readonly id: number;
  readonly parentId: number;
  /** "major:minor" of the file system. */
  readonly device: string;
  /** What of the file system is mounted. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

const MAX_LINES = 4096;
/** Optional fields (shared:, master:, propagate_from:, unbindable) are few. */
const MAX_FIELDS = 64;
const MAX_LINE_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const BACKSLASH = 0x5c;

/**
 * Parses mountinfo. The kernel writes space, tab, newline, backslash and # in names as a backslash and three octal
 * digits, so a name can't make a field or a line of its own.
 * Throws container.proc.malformed.
 */
export function parseMountInfo(bytes: Uint8Array): MountLine[] {
  return split(bytes, NEWLINE, MAX_LINES)
    .filter((line) => line.length > 0)
    .map(parseLine);
}

function parseLine(line: Uint8Array): MountLine {
  if (line.length > MAX_LINE_BYTES) throw malformed(`a line of ${line.length} bytes`);
  const fields = split(line, SPACE, MAX_FIELDS);
  const dash = fields.findIndex((field, index) => index >= 6 && field.length === 1 && field[0] === 0x2d);
  const [type, source, superOptions, ...more] = fields.slice(dash + 1);
  if (dash < 0 || type === undefined || source === undefined || superOptions === undefined || more.length > 0) {
    throw malformed('a line without its separator, or with too many fields');
  }
  const [id, parent, device, root, target, options] = fields as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  return {
    id: decimal(id),
    parentId: decimal(parent),
    device: deviceNumber(device),
    root: pathText(unescaped(root)),
    target: absolute(pathText(unescaped(target))),
    options: pathText(options).split(','),
    type: pathText(unescaped(type)),
    source: pathText(unescaped(source)),
    superOptions: pathText(unescaped(superOptions)).split(','),
  };
}

/** Parts between separators; more than `max` are refused before they are all there. */
function split(bytes: Uint8Array, separator: number, max: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let end = bytes.indexOf(separator); end >= 0; end = bytes.indexOf(separator, start)) {
    if (parts.length >= max) throw malformed(`more than ${max} lines, or fields of one`);
    parts.push(bytes.subarray(start, end));
    start = end + 1;
  }
  parts.push(bytes.subarray(start));
  return parts;
}

function unescaped(field: Uint8Array): Uint8Array {
  if (!field.includes(BACKSLASH)) return field;
  const out: number[] = [];
  for (let at = 0; at < field.length; at += 1) {
    const byte = field[at] as number;
    if (byte !== BACKSLASH) {
      out.push(byte);
      continue;
    }
    const digits = String.fromCharCode(...field.subarray(at + 1, at + 4));
    if (!/^[0-3][0-7]{2}$/.test(digits)) throw malformed('a backslash without three octal digits');
    out.push(Number.parseInt(digits, 8));
    at += 3;
  }
  return Uint8Array.from(out);
}

function decimal(field: Uint8Array): number {
  const text = pathText(field);
  if (!/^\d{1,10}$/.test(text)) throw malformed(`${JSON.stringify(text.slice(0, 40))} is no mount id`);
  return Number(text);
}

function deviceNumber(field: Uint8Array): string {
  const text = pathText(field);
  if (!/^\d{1,10}:\d{1,10}$/.test(text)) throw malformed(`${JSON.stringify(text.slice(0, 40))} is no device number`);
  return text;
}

function absolute(path: string): string {
  if (!path.startsWith('/')) throw malformed(`${JSON.stringify(path.slice(0, 80))} is no absolute path`);
  return path;
}

function malformed(what: string): LacreError {
  return new LacreError('container.proc.malformed', `mountinfo is malformed: ${what}`);
}
