import { MeasuredFile } from '../ima/measured-file.ts';
import { ListedMeasurement } from '../ima/measurement.ts';

/** What appraisal takes from an entry of the measurement list (src/ima); positions and PCR are proven by the quote that covers it. */
export interface Measured {
  readonly index: number;
  readonly pcr: number;
  readonly template: string;
  readonly path: string;
  readonly kind: string;
  /** Only where the digest can be compared. */
  readonly fileDigest: { readonly algorithm: string; readonly hex: string } | undefined;
  readonly digestState: 'usable' | 'zero' | 'refused';
  readonly violation: boolean;
  readonly iuid: number | undefined;
  readonly buffer?: Uint8Array | undefined;
}

/** Where an entry belongs (src/container). */
export type EntryOwner =
  | { readonly kind: 'domain'; readonly id: string }
  | { readonly kind: 'shared' }
  | { readonly kind: 'unattributed' }
  | { readonly kind: 'host' };

/** One file with one content, as it was first seen by one owner. */
export interface Sighting {
  readonly path: string;
  readonly algorithm: string;
  /** Digest of the file, of the kind that `digestState` says; empty unless usable. */
  readonly hex: string;
  readonly digestState: 'usable' | 'zero' | 'refused';
  readonly kind: string;
  readonly pcr: number;
  readonly index: number;
  readonly template: string;
  readonly iuid: number | undefined;
  readonly buffer: Uint8Array | undefined;
  /** Path and digest in a form that is compared without making text of them. */
  readonly file?: MeasuredFile;
}

/** PCR 10 holds what was executed or mapped as code. */
export const EXECUTED_PCR = 10;
/** PCR 13 holds what containers read (DESIGN section 3.9). */
export const READ_PCR = 13;
/** PCR 14 holds what was executed from untrusted file systems (DESIGN section 4). */
export const UNTRUSTED_PCR = 14;

/** The sighting of an entry: one that was read from a list is its own. */
export function sightingOf(entry: Measured): Sighting {
  if (entry instanceof ListedMeasurement) return entry;
  const { fileDigest, path, kind } = entry;
  const { algorithm = '', hex = '' } = fileDigest ?? {};
  return {
    path,
    algorithm,
    hex,
    digestState: fileDigest === undefined && entry.digestState === 'usable' ? 'zero' : entry.digestState,
    kind,
    pcr: entry.pcr,
    index: entry.index,
    template: entry.template,
    iuid: entry.iuid,
    buffer: entry.buffer,
    ...(kind === 'file' && algorithm === 'sha256' ? { file: MeasuredFile.ofSha256(path, hex) } : {}),
  };
}
