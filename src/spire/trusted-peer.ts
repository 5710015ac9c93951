import { readFileSync } from 'node:fs';
import type { Native } from '../agent/native.ts';
import { LacreError } from '../lacre-error.ts';
import type { PeerCheck } from '../unix-client.ts';

/**
 * Believes who listens on a socket only where that is root, this process's own user, or one of these: the kernel keeps
 * who called listen(2). Without it whoever can make a file at that path could judge nodes, or be asked to evict them.
 * The check throws spire.peer.foreign.
 * @param path for the sentence
 * @param hint what to do where the peer is an honest one
 */
export function peerCheck(
  native: Pick<Native, 'peerUid'>,
  path: string,
  uids: readonly number[],
  hint: string,
): PeerCheck {
  const believed = new Set([0, process.geteuid?.() ?? 0, ...uids]);
  return (fd) => {
    const uid = uidAt(native, fd);
    if (uid === undefined) return false;
    if (believed.has(uid)) return true;
    throw new LacreError(
      'spire.peer.foreign',
      `user ${uid} listens on ${path}, who is neither root nor the user of this plugin: ${hint}`,
      { path, uid },
    );
  };
}

/**
 * A user's number, by itself or by its name in /etc/passwd. Codes: spire.config.invalid.
 * @param key for the sentence
 */
export function uidOf(key: string, user: string, passwd = '/etc/passwd'): number {
  if (/^\d{1,10}$/.test(user)) return Number(user);
  const line = readFileSync(passwd, 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${user}:`));
  const uid = line?.split(':')[2] ?? '';
  if (/^\d{1,10}$/.test(uid)) return Number(uid);
  throw new LacreError('spire.config.invalid', `${key}: there is no user ${user} on this machine`);
}

/** Undefined: the socket is not connected. */
function uidAt(native: Pick<Native, 'peerUid'>, fd: number): number | undefined {
  try {
    return native.peerUid(fd);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOTCONN') return undefined;
    throw error;
  }
}
