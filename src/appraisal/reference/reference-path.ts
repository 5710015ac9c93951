import { LacreError } from '../../lacre-error.ts';

/** Longest path of Linux, with its final zero (PATH_MAX). */
export const MAX_PATH_BYTES = 4096;

/** As text: an escaped byte takes four characters (pathText of src/container). */
const MAX_PATH_TEXT = 4 * MAX_PATH_BYTES;

/** Throws appraisal.files.malformed unless a reference path is absolute, without empty, "." and ".." parts, and not too long. */
export function checkReferencePath(path: string): void {
  const faulty =
    !path.startsWith('/') ||
    path.length >= MAX_PATH_TEXT ||
    path.endsWith('/') ||
    path.includes('\0') ||
    /\/(\.{0,2})(\/|$)/.test(path);
  if (faulty) {
    throw new LacreError(
      'appraisal.files.malformed',
      `${JSON.stringify(path.slice(0, 200))} is no absolute path of a file`,
    );
  }
}
