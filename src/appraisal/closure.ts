import type { Fault } from './judgement.ts';
import type { FileTable } from './reference/file-table.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { READ_PCR, type Sighting, UNTRUSTED_PCR } from './sighting.ts';

/** SHA-256 of nothing. An empty file that was read has told nothing to its reader. */
const EMPTY_FILE = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** The reference values that explain a domain's entries: those of all images recorded in it (DESIGN section 5). */
export class Closure {
  readonly images: readonly ImageReference[];
  readonly #more: readonly FileTable[];
  readonly #tables: readonly FileTable[];

  /** @param more files that are not of an image, such as the host's. */
  constructor(images: readonly ImageReference[], more: readonly FileTable[] = []) {
    this.images = [...images];
    this.#more = [...more];
    this.#tables = [...images.map((image) => image.files), ...more];
  }

  /** Whether it was made of these very objects. */
  isOf(images: readonly ImageReference[], more: readonly FileTable[]): boolean {
    const same = (a: readonly unknown[], b: readonly unknown[]) =>
      a.length === b.length && a.every((value, i) => value === b[i]);
    return same(this.images, images) && same(this.#more, more);
  }

  /** Digests that the file at a path may have; undefined where no image has the path. */
  expected(path: string): ReadonlySet<string> | undefined {
    const found = this.#tables.map((table) => table.get(path)).filter((digests) => digests !== undefined);
    return found.length > 1 ? new Set(found.flatMap((digests) => [...digests])) : found[0];
  }

  /** Whether nothing can be wrong with a sighting: the quick answer for nearly all. False says nothing. */
  explains({ file, pcr }: Sighting): boolean {
    if (file === undefined || file.place < 0 || pcr === UNTRUSTED_PCR) return false;
    return this.#tables.some(({ index }) => file.home === index) || this.#tables.some(({ index }) => index.holds(file));
  }

  /** What is wrong with a sighting in a container, or nothing. Path and digest must belong together. */
  judge(sighting: Sighting): Fault | undefined {
    if (this.explains(sighting)) return undefined;
    const unknowable = judgeName(sighting);
    if (unknowable !== undefined) return unknowable;
    const expected = this.expected(sighting.path);
    if (expected?.has(sighting.hex)) return undefined;
    const did = sighting.pcr === READ_PCR ? 'read' : 'executed';
    if (expected !== undefined) {
      return {
        code: 'appraisal.file.unexpected',
        sighting,
        expected,
        detail: `${sighting.path} was ${did} with other content than the image has`,
      };
    }
    if (sighting.pcr === READ_PCR && sighting.hex === EMPTY_FILE) return undefined;
    return {
      code: 'appraisal.file.unknown',
      sighting,
      expected: [],
      detail: `${sighting.path} was ${did}, and no approved image has such a file`,
    };
  }
}

/** What no reference value can make good: an entry that does not say what ran (DESIGN sections 3.12 and 3.15). */
export function judgeName(sighting: Sighting): Fault | undefined {
  const fault = (code: Fault['code'], detail: string): Fault => ({ code, sighting, expected: [], detail });
  const { path, pcr, digestState, algorithm } = sighting;
  if (!path.startsWith('/')) return fault('ima.name.unknown', `${path} was executed, which is the name of no file`);
  if (digestState === 'zero') return fault('ima.digest.missing', `${path} was measured without a digest`);
  if (pcr === UNTRUSTED_PCR)
    return fault(
      'ima.filesystem.untrusted',
      `${path} was executed from a file system that can show other content than it executes`,
    );
  if (digestState === 'refused' || algorithm !== 'sha256') {
    return fault(
      'ima.digest.weak',
      `${path} was measured by ${algorithm || 'an algorithm that is refused'}, not by sha256: its kernel was started without ima_hash=sha256`,
    );
  }
  return undefined;
}
