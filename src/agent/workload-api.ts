import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import { LacreError } from '../lacre-error.ts';
import { WORKLOAD_LIMITS } from './workload-api-limits.ts';
import { type ConnectionDeps, WorkloadConnections } from './workload-connection.ts';

export interface WorkloadApiDeps extends ConnectionDeps {
  readonly path: string;
}

export interface WorkloadApi {
  close(): Promise<void>;
}

/**
 * Serves the SPIFFE Workload API (X.509 profile) on a unix socket that every process of the node may open: what a caller
 * gets is decided by who it is. Resolves when it listens. Codes: agent.workload.socket.
 */
export async function serveWorkloadApi(deps: WorkloadApiDeps): Promise<WorkloadApi> {
  const connections = new WorkloadConnections(deps);
  // Each is read from once it has its turn.
  const server = createServer({ pauseOnConnect: true }, (socket) => connections.accept(socket));
  server.maxConnections = WORKLOAD_LIMITS.connections;
  await listen(server, deps.path);
  server.on('error', (error) => deps.log.error({ err: error }, "the Workload API's socket failed"));
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    connections.close();
    setTimeout(() => connections.destroy(), 500).unref();
    await closed;
  };
  return { close };
}

async function listen(server: Server, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    });
    await chmod(path, 0o777);
  } catch (cause) {
    if (cause instanceof LacreError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new LacreError(
      'agent.workload.socket',
      `workload_socket ${path} can't be made: ${reason}`,
      { path },
      { cause },
    );
  }
}

/** A socket that a killed agent left behind goes; one that somebody listens on stays. */
async function removeStale(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new LacreError('agent.workload.socket', `${path} is there and is no socket`, { path });
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (alive) throw new LacreError('agent.workload.socket', `another program serves ${path}`, { path });
  await rm(path, { force: true });
}
