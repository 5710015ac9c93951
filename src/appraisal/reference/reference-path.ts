import { LacreError } from '../../lacre-error.ts';

/** Longest path of Linux, with its final zero (PATH_MAX). */
export const MAX_PATH_BYTES = 4096;

/** As text: an escaped byte takes four characters (pathText of src/container). */
const MAX_PATH_TEXT = 4 * MAX_PATH_BYTES;

/** Throws appraisal.files.malformed unless a reference path is absolute, without empty, "." and ".." parts, and not too long. */
export function checkReferencePath(path: string): void {
  const faulty =
    !path.startsWith('/') || path.length >= MAX_PATH_TEXT || path.includes('\0') || /\/(\.{0,2})(\/|$)/.test(path);
  if (faulty) {
    throw new LacreError(
      'appraisal.files.malformed',
      `${JSON.stringify(path.slice(0, 200))} is no absolute path of a file`,
    );
  }
}

/** Most paths: nothing to spell in another way. */
const PLAIN = /^[\x21-\x7e]*$/;
const UNPRINTABLE = /[\p{Cc}\u2028\u2029]/gu;

/**
 * A path as the measurement list spells it: the kernel writes a space as an underscore, and decodeName (src/ima) escapes
 * what cannot be printed. For paths that are escaped already (pathText, measuredName); doing it twice changes nothing.
 */
export function listSpelling(path: string): string {
  if (PLAIN.test(path)) return path;
  return path
    .replaceAll(' ', '_')
    .replace(UNPRINTABLE, (character) =>
      [...Buffer.from(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
    );
}
