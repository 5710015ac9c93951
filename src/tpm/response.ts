import type { ByteReader } from '../bytes/byte-reader.ts';
import { LacreError } from '../lacre-error.ts';
import { RC, TAG } from './constants.ts';
import { malformed, readStructure } from './structure.ts';

/** Most bytes that Lacre takes as one answer; no TPM's MAX_RESPONSE_SIZE is larger. */
export const MAX_RESPONSE_BYTES = 4096;
/** TPM_ST, size, TPM_RC. */
export const HEADER_BYTES = 10;

/** What the answer of one command looks like. */
export interface ResponseShape {
  /** Command, for messages. */
  readonly name: string;
  readonly hasHandle: boolean;
  readonly hasSessions: boolean;
}

/** Size that an answer's header states. Throws tpm.malformed below 10 or over 4,096 bytes. */
export function responseSize(header: Uint8Array): number {
  const size = new DataView(header.buffer, header.byteOffset, header.byteLength).getUint32(2);
  if (size < HEADER_BYTES || size > MAX_RESPONSE_BYTES) {
    throw malformed('TPM response', `its header states ${size} bytes, not ${HEADER_BYTES} to ${MAX_RESPONSE_BYTES}`);
  }
  return size;
}

/** TPM_RC of an answer. Throws tpm.malformed where it has no header, or another size than its header states. */
export function responseCode(response: Uint8Array): number {
  if (response.length < HEADER_BYTES || responseSize(response) !== response.length) {
    throw malformed('TPM response', `it has ${response.length} bytes and states another size`);
  }
  return new DataView(response.buffer, response.byteOffset, response.byteLength).getUint32(6);
}

/**
 * Reads an answer (Part 1, 18.10) to its last byte.
 *
 * Throws tpm.response.code where the TPM answered with an error, tpm.malformed.
 */
export function parseResponse<T>(
  response: Uint8Array,
  shape: ResponseShape,
  read: (reader: ByteReader, handle: number) => T,
): T {
  const code = responseCode(response);
  if (code !== RC.SUCCESS) throw responseError(shape.name, code);
  const what = `answer of ${shape.name}`;
  return readStructure(response, what, MAX_RESPONSE_BYTES, (reader) => {
    const tag = reader.u16();
    if (tag !== (shape.hasSessions ? TAG.SESSIONS : TAG.NO_SESSIONS)) throw malformed(what, 'it has another tag');
    reader.bytes(8);
    const handle = shape.hasHandle ? reader.u32() : 0;
    if (!shape.hasSessions) return read(reader, handle);
    const parameters = reader.sized32(MAX_RESPONSE_BYTES);
    const value = readStructure(parameters, what, MAX_RESPONSE_BYTES, (inner) => read(inner, handle));
    reader.bytes(reader.remaining); // TPMS_AUTH_RESPONSE of passwords and policy sessions: nothing to check
    return value;
  });
}

/** Kind of a TPM_RC: format-one codes (bit 7) without the number of the handle, session or parameter. */
export function responseKind(code: number): number {
  return (code & 0x080) !== 0 ? code & 0x0bf : code;
}

function responseError(command: string, code: number): LacreError {
  return new LacreError('tpm.response.code', `${command} failed in the TPM with code 0x${code.toString(16)}`, {
    command,
    rc: code,
  });
}
