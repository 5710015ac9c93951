import type { Logger } from 'pino';
import type { SessionLink, Subscriber } from '../agent/session-link.ts';
import type { LacreError } from '../lacre-error.ts';
import { type RefusedWorkload, refusalText, type TrustedWorkload } from './workload-verdict.ts';

export interface DriftWatchDeps {
  readonly link: SessionLink;
  readonly log: Logger;
  /** Ids of the containers that run. */
  running(): Iterable<string>;
  /** A verdict over the container as it is now; undefined: it runs no more. */
  judge(containerId: string): Promise<TrustedWorkload | RefusedWorkload | undefined>;
  /** Undefined: drift is only told. */
  readonly stop: ((containerId: string) => Promise<void>) | undefined;
}

const FORGET_EVERY_MS = 1_000;
const STOP_TRIES = 3;
const STOP_RETRY_MS = 1_000;

/**
 * Watches containers that SPIRE got selectors for: SPIRE itself asks no more while a stream is open. The server tells
 * when a verdict falls; then the container is stopped, if so configured. A host that fails costs no container its life.
 */
export class DriftWatch {
  readonly #deps: DriftWatchDeps;
  readonly #watched = new Map<string, Watched>();
  #forgotAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: DriftWatchDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#watched.size;
  }

  /** A verdict over this container is asked for: one that falls before it is held is not missed. */
  expect(containerId: string): void {
    this.#forgetEnded();
    this.#watchedOf(containerId);
  }

  /** From now on this verdict is the one that counts for its container. */
  hold(workload: TrustedWorkload): void {
    this.#watchedOf(workload.containerId).hold(workload);
  }

  #watchedOf(containerId: string): Watched {
    const known = this.#watched.get(containerId);
    if (known !== undefined) return known;
    const watched = new Watched(containerId, this.#deps);
    this.#watched.set(containerId, watched);
    this.#deps.link.add(watched);
    return watched;
  }

  /** Nothing is watched any more. */
  close(): void {
    for (const id of [...this.#watched.keys()]) this.#forget(id);
  }

  /** At most once a second: a crowd of workloads asks at once. */
  #forgetEnded(): void {
    const now = performance.now();
    if (now - this.#forgotAtMs < FORGET_EVERY_MS) return;
    this.#forgotAtMs = now;
    const running = new Set(this.#deps.running());
    for (const id of [...this.#watched.keys()]) if (!running.has(id)) this.#forget(id);
  }

  #forget(containerId: string): void {
    const watched = this.#watched.get(containerId);
    if (watched === undefined) return;
    this.#watched.delete(containerId);
    this.#deps.link.remove(watched);
    watched.close();
  }
}

/** One container. */
class Watched implements Subscriber {
  readonly containerId: string;
  readonly #deps: DriftWatchDeps;
  #held: TrustedWorkload | undefined;
  /** SPIRE got selectors for it once: before, its fall is nobody's business. */
  #wasTrusted = false;
  #missed = false;
  #judging = false;
  #again = false;
  #drifted = false;
  #closed = false;

  constructor(containerId: string, deps: DriftWatchDeps) {
    this.containerId = containerId;
    this.#deps = deps;
  }

  hold(workload: TrustedWorkload): void {
    const before = this.#held;
    this.#held = workload;
    this.#drifted = false;
    before?.session.release(before.id);
    this.#wasTrusted = true;
    // Between the verdict and now something fell, perhaps this.
    if (this.#missed) {
      this.#missed = false;
      this.renew();
    }
  }

  /** Another session began, or what the server judges by changed: its verdict is asked for anew. */
  renew(): void {
    if (!this.#wasTrusted) {
      this.#missed = true;
      return;
    }
    this.#again = true;
    if (!this.#judging) void this.#judge();
  }

  end(error: LacreError): void {
    // Without a session nothing is known; the next one asks again.
    if (error.code !== 'agent.workload.refused') return;
    if (!this.#wasTrusted) {
      this.#missed = true;
      return;
    }
    this.#held = undefined;
    if (error.details['containerId'] === this.containerId) this.#drift(error.message);
    else
      this.#deps.log.warn(
        { containerId: this.containerId },
        `the node lost its trust, and the container with it: ${error.message}`,
      );
  }

  close(): void {
    this.#closed = true;
    this.#held?.session.release(this.#held.id);
    this.#held = undefined;
  }

  async #judge(): Promise<void> {
    this.#judging = true;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        const verdict = await this.#deps.judge(this.containerId);
        if (verdict === undefined) return;
        if ('id' in verdict) {
          if (this.#closed) verdict.session.release(verdict.id);
          else this.hold(verdict);
        } else if (isOfContainer(verdict)) this.#drift(refusalText(verdict.refusal));
      }
    } catch (error) {
      this.#deps.log.info(
        { containerId: this.containerId, err: error },
        'a container could not be judged anew; its next verdict decides',
      );
    } finally {
      this.#judging = false;
    }
  }

  #drift(reason: string): void {
    if (this.#drifted || this.#closed) return;
    this.#drifted = true;
    const { log, stop } = this.#deps;
    const { containerId } = this;
    log.warn(
      { containerId, onDrift: stop === undefined ? 'none' : 'stop' },
      `container ${containerId.slice(0, 12)} is trusted no more: ${reason}`,
    );
    if (stop !== undefined) void this.#stop(stop);
  }

  async #stop(stop: (containerId: string) => Promise<void>): Promise<void> {
    const { log } = this.#deps;
    const { containerId } = this;
    for (let attempt = 1; attempt <= STOP_TRIES; attempt += 1) {
      try {
        await stop(containerId);
        log.warn({ containerId }, `container ${containerId.slice(0, 12)} is stopped, and kept`);
        return;
      } catch (error) {
        log.error({ containerId, attempt, err: error }, `container ${containerId.slice(0, 12)} could not be stopped`);
      }
      await new Promise((resolve) => {
        setTimeout(resolve, STOP_RETRY_MS * attempt);
      });
    }
  }
}

/** Whether the container itself is what is wrong, rather than its host or the asking. */
function isOfContainer({ containerId, refusal }: RefusedWorkload): boolean {
  return refusal.verdict?.findings.some(({ fatal, subject }) => fatal && subject === containerId) ?? false;
}
