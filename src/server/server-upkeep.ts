import type { ServerDeps } from './server-deps.ts';

const LONGEST_WAIT_MS = 60 * 60 * 1000;
const RETRY_MS = 60 * 1000;
/** Serials are kept for a while after their end, for those who ask why a peer was refused. */
const KEEP_SERIALS_MS = 24 * 60 * 60 * 1000;

/** Rotates the authority in time and forgets expired serials. Returns what ends it. */
export function startUpkeep(deps: Pick<ServerDeps, 'keeper' | 'store' | 'clock' | 'log'>): () => void {
  const { keeper, store, clock, log } = deps;
  let timer: NodeJS.Timeout | undefined;
  const plan = (waitMs: number): void => {
    timer = setTimeout(run, waitMs);
    timer.unref();
  };
  const run = (): void => {
    try {
      const now = clock.now();
      if (keeper.rotate(now))
        log.info({ authority: keeper.current().keyIdHex, sequence: keeper.sequence }, 'the trust bundle has changed');
      store.evidence.pruneSerials(new Date(now.getTime() - KEEP_SERIALS_MS));
      plan(Math.min(LONGEST_WAIT_MS, Math.max(1000, keeper.nextRotation().getTime() - now.getTime())));
    } catch (error) {
      log.error(
        { err: error },
        'the authority could not be rotated or serials not be forgotten; trying again in a minute',
      );
      plan(RETRY_MS);
    }
  };
  run();
  return () => clearTimeout(timer);
}
