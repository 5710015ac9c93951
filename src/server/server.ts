import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { prepareFolds } from '../ima/pending-prefixes.ts';
import { LacreError } from '../lacre-error.ts';
import { openLog } from '../log.ts';
import { adminLacreRoutes } from './admin-lacre.ts';
import { adminSpireRoutes } from './admin-spire.ts';
import { AuthorityKeeper } from './authority-keeper.ts';
import type { ServerConfig } from './config.ts';
import { createNodeListener } from './node-listener.ts';
import { nodeVerifierRoutes } from './node-verifier.ts';
import { type Clock, type ServerDeps, ServerEvents, SYSTEM_CLOCK } from './server-deps.ts';
import { lockDataDir } from './server-lock.ts';
import { startSocketListener } from './server-socket-listener.ts';
import { startUpkeep } from './server-upkeep.ts';
import { Store } from './store.ts';

/** A server that answers. */
export interface RunningServer {
  /** Where nodes reach it; the port is the real one where the configuration says 0. */
  readonly address: AddressInfo;
  /** The admin API's unix socket. */
  readonly adminSocket: string;
  /** Ends sessions, waits for calls in flight (a second at most), closes the database. */
  close(): Promise<void>;
}

/**
 * Starts the verifier and authority: database, authority, admin API, node listener, in this order; what was started is
 * closed again where a later one fails.
 * Codes: server.store.*, server.authority.failed, server.socket.*, and those of the node listener.
 */
export async function startServer(
  config: ServerConfig,
  options: { readonly clock?: Clock; readonly log?: Logger } = {},
): Promise<RunningServer> {
  const clock = options.clock ?? SYSTEM_CLOCK;
  const log = options.log ?? openLog(config.log);
  const closers: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (let closer = closers.pop(); closer !== undefined; closer = closers.pop()) await closer();
  };
  try {
    closers.push(lockDataDir(config.dataDir));
    const deps = openDeps(config, clock, log);
    closers.push(() => deps.store.close());
    closers.push(startUpkeep(deps));
    const admin = await startSocketListener(config.admin, [adminSpireRoutes(deps), adminLacreRoutes(deps)]);
    closers.push(() => admin.close());
    if (config.verifier !== undefined) {
      const verifier = await startSocketListener(config.verifier, [nodeVerifierRoutes(deps)]);
      closers.push(() => verifier.close());
    }
    prepareFolds();
    const nodes = createNodeListener(deps);
    closers.push(() => nodes.close());
    const address = await listen(nodes, config);
    const where = {
      address: `${address.address}:${address.port}`,
      admin: admin.socket,
      verifier: config.verifier?.socket,
    };
    log.info({ trustDomain: config.trustDomain.name, ...where }, 'the server answers');
    if (config.endorsement.roots.length === 0) log.warn('no endorsement roots are configured: no node can enrol');
    return { address, adminSocket: admin.socket, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function openDeps(config: ServerConfig, clock: Clock, log: Logger): ServerDeps {
  const store = Store.open(config.dataDir);
  try {
    const { trustDomain, dataDir, ca } = config;
    const keeper = AuthorityKeeper.open(
      { trustDomain, dataDir, key: ca.key, ttlMs: ca.ttlMs, subject: ca.subject },
      clock.now(),
    );
    const events = new ServerEvents();
    events.setMaxListeners(0);
    keeper.onChange(() => events.emit('bundleChanged'));
    return { config, store, keeper, log, clock, events };
  } catch (error) {
    store.close();
    throw error;
  }
}

async function listen(nodes: ReturnType<typeof createNodeListener>, config: ServerConfig): Promise<AddressInfo> {
  const { host, port } = config.listen;
  try {
    return await nodes.listen(config.listen);
  } catch (error) {
    if (error instanceof LacreError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const why = code === 'EADDRINUSE' ? 'another program listens there' : String(error);
    const kind = code === 'EADDRINUSE' ? 'server.socket.busy' : 'server.socket.failed';
    throw new LacreError(kind, `cannot listen on ${host}:${port}: ${why}`, { host, port }, { cause: error });
  }
}
