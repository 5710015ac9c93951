import { LacreError } from '../lacre-error.ts';
import { tell } from './events.ts';
import { LIMITS } from './limits.ts';
import type { ServerDeps } from './server-deps.ts';
import { withdrawHost, withdrawImage, withdrawWithoutEntry } from './withdrawal-offline.ts';

/** What the registry needs of a session. */
export interface OpenSession {
  readonly ekSha256Hex: string;
  readonly fence: number;
  /** When the newest accepted evidence was made; undefined: none yet. */
  readonly evidenceTime: Date | undefined;
  /** Ends the session with this error; nothing is issued on it any more. */
  end(error: LacreError): void;
  entriesChanged(): void;
  bundleChanged(): void;
  referencesChanged(changed: { readonly image?: string; readonly host?: string }): void;
}

/**
 * The sessions of this server: at most one per node. A newer one fences the older (DESIGN section 8): the store's fence
 * holds for other servers on the same database too. Forwards what the admin API changes to the sessions, and marks
 * nodes lost that fall silent.
 */
export class SessionRegistry {
  readonly #deps: ServerDeps;
  readonly #sessions = new Map<string, OpenSession>();
  readonly #silence = new Map<string, NodeJS.Timeout>();
  #stopped = false;

  constructor(deps: ServerDeps) {
    this.#deps = deps;
    const { events, store } = deps;
    events.on('entriesChanged', () => {
      this.#each((session) => session.entriesChanged());
      withdrawWithoutEntry(deps);
    });
    events.on('bundleChanged', () => this.#each((session) => session.bundleChanged()));
    events.on('referencesChanged', (changed) => this.#referencesChanged(changed));
    events.on('nodeChanged', (ek) => this.#nodeChanged(ek));
    for (const node of store.nodes.list()) if (node.state === 'attested') this.#awaitReturn(node.ekSha256Hex);
  }

  /** Codes: server.limit, server.stopping. */
  requireRoom(): void {
    if (this.#stopped) throw new LacreError('server.stopping', 'the server is stopping');
    if (this.#sessions.size >= this.#deps.config.limits.sessions) {
      throw new LacreError('server.limit', `${this.#sessions.size} nodes are connected: the configured bound`);
    }
  }

  /** Registers a session whose fence was drawn; an older one of the node ends with ABORTED. */
  open(session: OpenSession): void {
    const older = this.#sessions.get(session.ekSha256Hex);
    older?.end(new LacreError('server.store.fenced', 'a newer session of this node has begun'));
    this.#sessions.set(session.ekSha256Hex, session);
    clearTimeout(this.#silence.get(session.ekSha256Hex));
    this.#silence.delete(session.ekSha256Hex);
  }

  closed(session: OpenSession): void {
    if (this.#sessions.get(session.ekSha256Hex) !== session) return;
    this.#sessions.delete(session.ekSha256Hex);
    if (!this.#stopped) this.#awaitReturn(session.ekSha256Hex);
  }

  close(error: LacreError): void {
    this.#stopped = true;
    for (const timer of this.#silence.values()) clearTimeout(timer);
    this.#silence.clear();
    this.#each((session) => session.end(error));
  }

  #referencesChanged(changed: { readonly image?: string; readonly host?: string }): void {
    const isConnected = (ek: string) => this.#sessions.has(ek);
    if (changed.image !== undefined) withdrawImage(this.#deps, changed.image, isConnected);
    if (changed.host !== undefined) withdrawHost(this.#deps, changed.host, isConnected);
    this.#each((session) => session.referencesChanged(changed));
  }

  /** A node that was attested and is connected no more is lost, unless a quote comes in time. */
  #awaitReturn(ekSha256Hex: string): void {
    const timer = setTimeout(() => {
      this.#silence.delete(ekSha256Hex);
      if (!this.#sessions.has(ekSha256Hex)) this.#lost(ekSha256Hex);
    }, silenceMs(this.#deps.config.quoteIntervalMs));
    timer.unref();
    clearTimeout(this.#silence.get(ekSha256Hex));
    this.#silence.set(ekSha256Hex, timer);
  }

  #lost(ekSha256Hex: string): void {
    try {
      markLost(this.#deps, ekSha256Hex, 'it is not connected');
    } catch (error) {
      // A full disk: without a session nothing is issued to it anyway.
      this.#deps.log.error({ err: error, node: ekSha256Hex }, 'that a node is lost could not be written down');
    }
  }

  #nodeChanged(ekSha256Hex: string): void {
    const node = this.#deps.store.nodes.get(ekSha256Hex);
    if (node !== undefined && !node.banned && node.akPublic !== undefined) return;
    const gone = new LacreError('server.node.banned', 'the node was banned, evicted, or taken out of the inventory');
    const session = this.#sessions.get(ekSha256Hex);
    if (session === undefined) this.#deps.store.evidence.withdrawNode(ekSha256Hex, this.#deps.clock.now(), true);
    else session.end(gone);
    if (node === undefined) {
      clearTimeout(this.#silence.get(ekSha256Hex));
      this.#silence.delete(ekSha256Hex);
    }
  }

  #each(act: (session: OpenSession) => void): void {
    for (const session of [...this.#sessions.values()]) {
      try {
        act(session);
      } catch (error) {
        // Fail closed: a session that cannot follow a change issues nothing more.
        this.#deps.log.error({ err: error, node: session.ekSha256Hex }, 'a session could not follow a change');
        session.end(new LacreError('server.session.failed', 'the session failed; connect again', {}, { cause: error }));
      }
    }
  }
}

/** Time without a quote after which a node is lost: twice the interval and a grace. */
export function silenceMs(quoteIntervalMs: number): number {
  return 2 * quoteIntervalMs + LIMITS.silenceGraceMs;
}

/** Writes and tells that a node is lost: nothing is issued until it attests again. */
export function markLost(deps: ServerDeps, ekSha256Hex: string, reason: string): void {
  const node = deps.store.nodes.get(ekSha256Hex);
  if (node === undefined || node.state !== 'attested') return;
  // Thousands may fall silent at once; a state that is lost with the power is found anew after the start.
  const written = deps.store.grouped(() => deps.store.nodes.update(ekSha256Hex, { state: 'lost' }));
  written.catch((error) =>
    deps.log.error({ err: error, node: ekSha256Hex }, 'that a node is lost could not be written down'),
  );
  tell(deps, { kind: 'node', node: node.spiffeId, sentence: `node ${node.name || node.spiffeId} is lost: ${reason}` });
}
