import type { ByteReader } from '../bytes/byte-reader.ts';
import { ByteWriter } from '../bytes/byte-writer.ts';
import { HANDLE, TAG } from './constants.ts';
import { parseResponse } from './response.ts';

/** One TPM 2.0 command: its bytes, and how to read the answer. */
export interface TpmCommand<T> {
  /** As the Library names it, for messages. */
  readonly name: string;
  /** Header, handles, authorizations, parameters (Part 1, 18). */
  readonly bytes: Uint8Array;
  /** Makes a key, which takes some chips a minute. */
  readonly isSlow: boolean;
  /** Reads the answer. Throws tpm.response.code, tpm.malformed. */
  parse(response: Uint8Array): T;
}

/** Parts of a command. */
export interface CommandParts<T> {
  readonly name: string;
  /** TPM_CC. */
  readonly code: number;
  readonly handles?: readonly number[];
  /** One session for each handle that needs authorization: HANDLE.PASSWORD for an empty password, or a policy session. */
  readonly sessions?: readonly number[];
  readonly parameters?: Uint8Array;
  readonly isSlow?: boolean;
  /** True where the answer begins with a handle. */
  readonly answersHandle?: boolean;
  /** Reads all parameters of the answer; `handle` is 0 where there is none. */
  read(reader: ByteReader, handle: number): T;
}

/** Marshals a command. */
export function buildCommand<T>(parts: CommandParts<T>): TpmCommand<T> {
  const { name, code, handles = [], sessions = [], parameters = new Uint8Array() } = parts;
  const { isSlow = false, answersHandle = false } = parts;
  const body = new ByteWriter();
  for (const handle of handles) body.u32(handle);
  if (sessions.length > 0) {
    const area = authorizations(sessions);
    body.u32(area.length).bytes(area);
  }
  const payload = body.bytes(parameters).finish();
  const tag = sessions.length > 0 ? TAG.SESSIONS : TAG.NO_SESSIONS;
  const shape = { name, hasHandle: answersHandle, hasSessions: sessions.length > 0 };
  return {
    name,
    bytes: new ByteWriter()
      .u16(tag)
      .u32(10 + payload.length)
      .u32(code)
      .bytes(payload)
      .finish(),
    isSlow,
    parse: (response) => parseResponse(response, shape, parts.read),
  };
}

const CONTINUE_SESSION = 1;

/**
 * TPMS_AUTH_COMMAND for each session (Part 2, 10.13.2), without nonce and HMAC: every secret that Lacre's keys have is
 * empty, and a policy session that asks for no secret carries none.
 */
function authorizations(sessions: readonly number[]): Uint8Array {
  const writer = new ByteWriter();
  for (const session of sessions) writer.u32(session).u16(0).u8(CONTINUE_SESSION).u16(0);
  return writer.finish();
}

/** The session that stands for an empty password. */
export const EMPTY_PASSWORD: number = HANDLE.PASSWORD;
