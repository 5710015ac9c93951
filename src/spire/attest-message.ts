import { fromBinary } from '@bufbuild/protobuf';
import { LacreError } from '../lacre-error.ts';
import { AttestRequestSchema } from '../proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';

/** AttestRequest.pid, field 1, a varint: as SPIRE sends it, the whole message. */
const PID_TAG = 0x08;
/** AttestResponse.selector_values, field 1, a string each. */
const SELECTOR_TAG = 0x0a;
const MAX_VARINT_BYTES = 5;
const CONTINUED = 0x80;

/** The pid of an AttestRequest. Codes: spire.workload.pid. */
export function parsePid(request: Uint8Array): number {
  return pidAlone(request) ?? pidOf(request);
}

/** Of a message that is a pid of at most 28 bits and nothing else; undefined: any other. */
function pidAlone(request: Uint8Array): number | undefined {
  if (request[0] !== PID_TAG || request.length > MAX_VARINT_BYTES) return undefined;
  let pid = 0;
  for (let at = 1; at < request.length; at += 1) {
    const byte = request[at] ?? 0;
    pid |= (byte & ~CONTINUED) << (7 * (at - 1));
    if (byte < CONTINUED) return at === request.length - 1 ? pid : undefined;
  }
  return undefined;
}

function pidOf(request: Uint8Array): number {
  try {
    return fromBinary(AttestRequestSchema, request).pid;
  } catch (cause) {
    throw new LacreError('spire.workload.pid', "SPIRE's request is no message that names a pid", {}, { cause });
  }
}

/** An AttestResponse of these values. */
export function encodeSelectors(values: readonly string[]): Uint8Array {
  // A character of UTF-16 is at most three bytes of UTF-8.
  const room = values.reduce((sum, value) => sum + 1 + MAX_VARINT_BYTES + 3 * value.length, 0);
  const bytes = Buffer.allocUnsafe(room);
  let at = 0;
  for (const value of values) {
    bytes[at] = SELECTOR_TAG;
    at = writeLength(bytes, at + 1, Buffer.byteLength(value));
    at += bytes.write(value, at);
  }
  return bytes.subarray(0, at);
}

/** A varint; returns where it ends. */
function writeLength(bytes: Buffer, at: number, length: number): number {
  let [end, left] = [at, length];
  for (; left >= CONTINUED; left >>>= 7) {
    bytes[end] = (left & ~CONTINUED & 0xff) | CONTINUED;
    end += 1;
  }
  bytes[end] = left;
  return end + 1;
}
