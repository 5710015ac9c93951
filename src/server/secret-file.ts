import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { LacreError } from '../lacre-error.ts';

/** Makes a folder that only its owner can look into (mode 0700), or checks that it is one. Code: server.authority.failed. */
export function makeSecretFolder(path: string): void {
  guard(path, () => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  });
}

/**
 * Writes a file that only its owner can read (mode 0600), whole or not at all: a temporary file beside it, synced,
 * renamed over it, folder synced. Code: server.authority.failed.
 */
export function writeSecretFile(path: string, contents: string): void {
  guard(path, () => {
    const temporary = join(dirname(path), `.${randomBytes(8).toString('hex')}.new`);
    const file = openSync(temporary, 'wx', 0o600);
    try {
      writeSync(file, contents);
      fsyncSync(file);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    syncFolder(dirname(path));
  });
}

/** Reads a file that others must not be able to read or write; undefined where there is none. Code: server.authority.failed. */
export function readSecretFile(path: string, maxBytes: number): string | undefined {
  return guard(path, () => {
    const facts = statSync(path, { throwIfNoEntry: false });
    if (facts === undefined) return undefined;
    if ((facts.mode & 0o077) !== 0) throw new Error('others may read it: set its mode to 0600');
    if (facts.size > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
    return readFileSync(path, 'utf8');
  });
}

export function removeSecretFile(path: string): void {
  guard(path, () => {
    rmSync(path, { force: true });
    syncFolder(dirname(path));
  });
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function guard<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new LacreError('server.authority.failed', `${path} cannot be used: ${why}`, { path }, { cause: error });
  }
}
