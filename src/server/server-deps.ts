import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import type { Event } from '../proto/lacre/v1/admin_pb.ts';
import type { AuthorityKeeper } from './authority-keeper.ts';
import type { ServerConfig } from './config.ts';
import type { Store } from './store.ts';

/** Where the parts of the server get the time; tests pass their own. */
export interface Clock {
  now(): Date;
}

export const SYSTEM_CLOCK: Clock = { now: () => new Date() };

/** What parts of the server tell each other. */
export interface ServerEventMap {
  /** Registration entries were made, changed or deleted. */
  entriesChanged: [];
  /** The trust bundle has other certificates. */
  bundleChanged: [];
  /** A node was added, removed, banned or evicted: by EK. Its session ends where it may no longer speak. */
  nodeChanged: [ekSha256Hex: string];
  /** Reference values of an image or host were approved or deleted. */
  referencesChanged: [changed: { readonly image?: string; readonly host?: string }];
  /** What watchers of the admin API are told (lacre.v1.Event). */
  told: [event: Event];
}

export class ServerEvents extends EventEmitter<ServerEventMap> {}

/** What every part of the server is given. */
export interface ServerDeps {
  readonly config: ServerConfig;
  readonly store: Store;
  readonly keeper: AuthorityKeeper;
  readonly log: Logger;
  readonly clock: Clock;
  readonly events: ServerEvents;
}
