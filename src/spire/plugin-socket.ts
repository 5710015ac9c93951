import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Native } from '../agent/native.ts';
import { LacreError } from '../lacre-error.ts';
import { descriptorOf } from '../socket-descriptor.ts';

/** Where SPIRE reaches the plugin. */
export interface PluginSocket {
  readonly path: string;
  /** Resolves when the last connection of SPIRE has ended: nobody is served any more. */
  readonly abandoned: Promise<void>;
  close(): Promise<void>;
}

const CLOSE_MS = 500;

/**
 * Listens on a unix socket of mode 0600 in a folder of its own (0700), and takes connections of this user and of root
 * alone. Codes: spire.plugin.socket.
 */
export async function listenForSpire(server: Http2Server, native: Native, log: Logger): Promise<PluginSocket> {
  const folder = makeFolder();
  const path = join(folder, 'plugin.sock');
  const sessions = new Set<ServerHttp2Session>();
  const abandoned = Promise.withResolvers<void>();
  server.on('connection', (socket: Socket) => refuseForeign(socket, native, log));
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => session.destroy());
    session.on('close', () => {
      sessions.delete(session);
      if (sessions.size === 0) abandoned.resolve();
    });
  });
  const close = async (): Promise<void> => {
    const last = setTimeout(() => {
      for (const session of sessions) session.destroy();
    }, CLOSE_MS);
    for (const session of sessions) session.close();
    await new Promise((resolve) => {
      server.close(resolve);
    });
    clearTimeout(last);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await listen(server, path);
    return { path, abandoned: abandoned.promise, close };
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    const reason = error instanceof Error ? error.message : String(error);
    throw new LacreError(
      'spire.plugin.socket',
      `the plugin cannot listen on ${path}: ${reason}`,
      { path },
      { cause: error },
    );
  }
}

function makeFolder(): string {
  const parent = process.env['PLUGIN_UNIX_SOCKET_DIR'] || tmpdir();
  try {
    return mkdtempSync(join(parent, 'lacre-plugin-'));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LacreError(
      'spire.plugin.socket',
      `no folder for the plugin's socket can be made: ${reason}`,
      {},
      { cause },
    );
  }
}

function listen(server: Http2Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const mask = process.umask(0o177);
    try {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

/** The mode of the folder keeps others out; who gets in nevertheless is not answered. */
function refuseForeign(socket: Socket, native: Native, log: Logger): void {
  try {
    const { uid, pid } = native.peerCredentials(descriptorOf(socket));
    if (uid === 0 || uid === process.getuid?.()) return;
    log.warn({ uid, pid }, 'a process of another user connected to the plugin, and was refused');
  } catch (error) {
    log.warn({ err: error }, 'a connection to the plugin was refused: its peer is unknown');
  }
  socket.destroy();
}
