import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LacreError } from '../lacre-error.ts';

/**
 * Takes `dataDir` for this process alone: two servers on one folder would rotate two authorities. The lock is SQLite's
 * on an empty file, so the kernel gives it back when the process ends, however it ends. Returns what releases it.
 * Code: server.store.busy, server.store.failed.
 */
export function lockDataDir(dataDir: string): () => void {
  const path = join(dataDir, 'lock');
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const lock = new DatabaseSync(path, { timeout: 0 });
    try {
      chmodSync(path, 0o600);
      lock.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      lock.close();
      throw error;
    }
    return () => lock.close();
  } catch (error) {
    const errcode = error instanceof Error && 'errcode' in error ? error.errcode : undefined;
    if (errcode === 5)
      throw new LacreError('server.store.busy', `another server runs on data_dir ${dataDir}`, {}, { cause: error });
    throw new LacreError(
      'server.store.failed',
      `data_dir ${dataDir} cannot be made or is not ours`,
      {},
      { cause: error },
    );
  }
}
