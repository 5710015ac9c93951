import type { Logger } from 'pino';
import type { AuthorityKeeper } from './authority-keeper.ts';
import type { ServerConfig } from './config.ts';
import type { ServerEvents } from './events.ts';
import type { Store } from './store.ts';

/** Where the parts of the server get the time; tests pass their own. */
export interface Clock {
  now(): Date;
}

export const SYSTEM_CLOCK: Clock = { now: () => new Date() };

/** What every part of the server is given. */
export interface ServerDeps {
  readonly config: ServerConfig;
  readonly store: Store;
  readonly keeper: AuthorityKeeper;
  readonly log: Logger;
  readonly clock: Clock;
  readonly events: ServerEvents;
}
