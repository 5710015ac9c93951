import type { ErrorCode } from '../error-code.ts';
import { LacreError } from '../lacre-error.ts';

/** Result codes of SQLite (sqlite.org/rescode.html), primary part. */
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;

const FAULTS: ReadonlyMap<number, readonly [ErrorCode, string]> = new Map([
  [
    BUSY,
    ['server.store.busy', 'the database is locked by another process; is a second server running on this data_dir?'],
  ],
  [
    LOCKED,
    ['server.store.busy', 'the database is locked by another process; is a second server running on this data_dir?'],
  ],
  [READONLY, ['server.store.failed', 'the database cannot be written: check the owner and mode of data_dir']],
  [CORRUPT, ['server.store.corrupt', 'the database is damaged; stop the server and restore it from a backup']],
  [NOT_A_DATABASE, ['server.store.corrupt', 'the file is no database of Lacre; data_dir may point at the wrong place']],
  [
    FULL,
    [
      'server.store.full',
      'the disk of data_dir is full: nothing was written, and nothing is issued until there is space',
    ],
  ],
]);

/**
 * Turns what node:sqlite throws into a LacreError with a code by SQLite's result code; a LacreError stays as it is.
 * Codes: server.store.busy, .full, .corrupt, .failed.
 */
export function storeFault(error: unknown): LacreError {
  if (error instanceof LacreError) return error;
  const errcode = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0;
  const [code, sentence] = FAULTS.get(errcode & 0xff) ?? [
    'server.store.failed',
    `the database failed: ${error instanceof Error ? error.message : String(error)}`,
  ];
  return new LacreError(code, sentence, { sqlite: errcode }, { cause: error });
}
