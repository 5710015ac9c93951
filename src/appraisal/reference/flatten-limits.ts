import { LacreError } from '../../lacre-error.ts';
import { MAX_REFERENCE_FILES } from './file-table.ts';
import { MAX_PATH_BYTES } from './reference-path.ts';

/** Bounds of what an image may hold. Whoever approves an image need not trust its archive. */
export interface FlattenLimits {
  readonly documentBytes: number;
  readonly layers: number;
  /** Names of all layers together. */
  readonly entries: number;
  readonly pathBytes: number;
  /** Folders in folders. */
  readonly depth: number;
  /** All layers, uncompressed. */
  readonly totalBytes: number;
  /** A layer may be this many times larger than compressed, beyond its first `freeBytes`. */
  readonly ratio: number;
  readonly freeBytes: number;
}

export const FLATTEN_LIMITS: FlattenLimits = {
  documentBytes: 8 * 1024 * 1024,
  layers: 512,
  entries: MAX_REFERENCE_FILES,
  pathBytes: MAX_PATH_BYTES,
  depth: 1024,
  totalBytes: 32 * 1024 ** 3,
  ratio: 200,
  freeBytes: 256 * 1024 * 1024,
};

/** appraisal.image.oversized */
export function oversized(what: string, details: Record<string, number> = {}): LacreError {
  return new LacreError('appraisal.image.oversized', `the image is over a bound: ${what}`, details);
}

/** appraisal.image.malformed */
export function malformedImage(why: string, cause?: unknown): LacreError {
  return new LacreError('appraisal.image.malformed', `the image is not well-formed: ${why}`, {}, { cause });
}
