import type { DatabaseSync } from 'node:sqlite';
import { LacreError } from '../lacre-error.ts';
import { FIRST } from './migrations/0001-first.ts';

/** In order: the schema's version is the number of migrations applied. A migration that was released is never edited. */
export const MIGRATIONS: readonly string[] = [FIRST];

/** "LACR": tells our database from another program's (PRAGMA application_id). */
const APPLICATION_ID = 0x4c_41_43_52;

/**
 * Brings the schema to this program's version, each migration in a transaction of its own.
 * Codes: server.store.newer (written by a newer Lacre), server.store.corrupt (another program's database).
 */
export function migrate(db: DatabaseSync, migrations: readonly string[] = MIGRATIONS): void {
  const version = pragma(db, 'user_version');
  const application = pragma(db, 'application_id');
  if (application !== APPLICATION_ID && (application !== 0 || version !== 0)) {
    throw new LacreError('server.store.corrupt', 'the database in data_dir belongs to another program', {
      application,
    });
  }
  if (version > migrations.length) {
    throw new LacreError(
      'server.store.newer',
      `the database has schema ${version}, and this program knows ${migrations.length}: run the newer Lacre again`,
      { schema: version, known: migrations.length },
    );
  }
  for (let next = version; next < migrations.length; next++) {
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(migrations[next] ?? '');
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${next + 1}`);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

function pragma(db: DatabaseSync, name: string): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0);
}
