import type { Record } from '../proto/lacre/v1/record_pb.ts';
import { encodeRecord, makeRecord } from './record.ts';
import { checkRecord } from './record-check.ts';

/** What a Record says of the process itself. */
export type RecordedProcess = Pick<
  Record,
  'uid' | 'gid' | 'executable' | 'isInitFamily' | 'joinedByExec' | 'startTicks'
>;

/** Where the process's own fields begin: version, SHA-256 and id of the container stand before them. */
const PROCESS_AT = 102;
/** Tags, varints of 32, 32, 32 and 64 bits, and two flags. */
const MAX_PROCESS_FIELDS = 35;

/**
 * The bytes that encodeRecord gives for a Record of this process in this container, for a third of what it takes: a node
 * makes one for each request. Throws container.malformed.
 */
export function encodeProcessRecord(
  container: { readonly id: string; readonly sha256: Uint8Array },
  process: RecordedProcess,
): Uint8Array {
  const { uid, gid, executable, isInitFamily, joinedByExec, startTicks } = process;
  const named = { containerId: container.id, containerSha256: container.sha256 };
  if (startTicks > Number.MAX_SAFE_INTEGER) return encodeRecord(makeRecord({ ...named, ...process }));
  checkRecord({ version: 1, ...named, ...process });
  const path = Buffer.from(executable, 'utf8');
  const buffer = Buffer.allocUnsafeSlow(PROCESS_AT + MAX_PROCESS_FIELDS + path.length);
  buffer.set([0x08, 1, 0x12, 32]);
  buffer.set(container.sha256, 4);
  buffer.set([0x1a, 64], 36);
  buffer.write(container.id, 38, 'latin1');
  let at = writeVarint(buffer, PROCESS_AT, 0x20, uid);
  at = writeVarint(buffer, at, 0x28, gid);
  at = writeVarint(buffer, at, 0x32, path.length);
  buffer.set(path, at);
  at = writeVarint(buffer, at + path.length, 0x38, Number(isInitFamily));
  at = writeVarint(buffer, at, 0x40, Number(joinedByExec));
  at = writeVarint(buffer, at, 0x48, Number(startTicks));
  return new Uint8Array(buffer.buffer, 0, at);
}

/** A field with a number, or nothing where that is the default. Returns where the next begins. */
function writeVarint(buffer: Buffer, from: number, tag: number, value: number): number {
  if (value === 0) return from;
  let at = from;
  buffer[at++] = tag;
  for (let left = value; ; left = Math.floor(left / 128)) {
    buffer[at++] = left < 128 ? left : (left % 128) + 128;
    if (left < 128) return at;
  }
}
