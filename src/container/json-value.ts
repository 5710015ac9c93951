import { LacreError } from '../lacre-error.ts';

/** A JSON object of an engine's file or answer, untrusted. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Parses one JSON object. Throws container.proc.malformed, which names `what`. */
export function parseJsonObject(what: string, text: string): JsonObject {
  return objectOf(what, parseJson(what, text));
}

/** Parses any JSON value. Throws container.proc.malformed, which names `what`. */
export function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LacreError('container.proc.malformed', `${what} is not JSON`, {}, { cause });
  }
}

/** The value as an object. Throws container.proc.malformed. */
export function objectOf(what: string, value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(what, 'an object');
  return value as JsonObject;
}

/** A list, or nothing where it is null or left out, as Go writes an empty one. Throws container.proc.malformed. */
export function listOf(what: string, value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw malformed(what, 'a list');
  return value;
}

/** A list of texts. Throws container.proc.malformed. */
export function textsOf(what: string, value: unknown): string[] {
  return listOf(what, value).map((element) => textOf(what, element));
}

/** A text; left out: empty. Throws container.proc.malformed. */
export function textOf(what: string, value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw malformed(what, 'a text');
  return value;
}

/** A whole number from 0 on; left out: 0. Throws container.proc.malformed. */
export function countOf(what: string, value: unknown): number {
  if (value === undefined || value === null) return 0;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed(what, 'a whole number');
  return value;
}

function malformed(what: string, wanted: string): LacreError {
  return new LacreError('container.proc.malformed', `${what} is not ${wanted}`);
}
