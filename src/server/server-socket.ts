import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { dirname } from 'node:path';
import { LacreError } from '../lacre-error.ts';

/** sun_path of Linux holds 108 bytes with the final zero. */
const MAX_PATH_BYTES = 107;
const PROBE_MS = 2000;

/**
 * Listens on a unix socket that only its owner can open (0600, in a folder made with 0700), or the members of a group,
 * too (0660, 0750). A socket that is there is removed only if nobody answers on it.
 * Codes: server.socket.busy (somebody answers), server.socket.failed.
 * @param group name or number
 */
export async function listenOnSocket(server: Server, path: string, group?: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw failed(path, `a unix socket's path has at most ${MAX_PATH_BYTES} bytes`);
  }
  const gid = group === undefined ? undefined : gidOf(path, group);
  try {
    makeFolder(dirname(path), gid);
  } catch (error) {
    throw failed(path, 'its folder cannot be made', error);
  }
  await removeStale(path);
  await bind(server, path);
  if (gid === undefined) return;
  try {
    openToGroup(path, gid, 0o660);
  } catch (error) {
    throw failed(path, `it cannot be given to group ${group}`, error);
  }
}

/** A folder that is there is left as it is. */
function makeFolder(folder: string, gid: number | undefined): void {
  if (gid === undefined) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return;
  }
  // Who may open the socket must get through the folders above it.
  mkdirSync(dirname(folder), { recursive: true, mode: 0o755 });
  if (lstatSync(folder, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(folder, { mode: 0o700 });
  openToGroup(folder, gid, 0o750);
}

/** The owner first: a mode set before would be another group's for a moment. */
function openToGroup(path: string, gid: number, mode: number): void {
  chownSync(path, process.geteuid?.() ?? -1, gid);
  chmodSync(path, mode);
}

function gidOf(path: string, group: string): number {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  const gid = line?.split(':')[2];
  if (gid === undefined) throw failed(path, `there is no group ${group}`);
  return Number(gid);
}

async function removeStale(path: string): Promise<void> {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts === undefined) return;
  if (!facts.isSocket()) throw failed(path, 'something that is no socket is in its place');
  if (await answers(path)) throw new LacreError('server.socket.busy', `another server answers on ${path}`, { path });
  try {
    rmSync(path);
  } catch (error) {
    throw failed(path, 'the socket that a dead server left cannot be removed', error);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PROBE_MS, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      done(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

/** The file comes into being with mode 0600: the mask is set for the one synchronous call that makes it. */
function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new LacreError('server.socket.busy', `another server listens on ${path}`, { path })
          : failed(path, error.message, error),
      );
    };
    server.once('error', refuse);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', refuse);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

function failed(path: string, why: string, cause?: unknown): LacreError {
  return new LacreError('server.socket.failed', `cannot listen on ${path}: ${why}`, { path }, { cause });
}
