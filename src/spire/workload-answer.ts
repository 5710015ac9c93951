import type { Logger } from 'pino';
import type { Selector } from '../appraisal/selector/selector.ts';
import { LacreError } from '../lacre-error.ts';
import type { DriftWatch } from './drift-watch.ts';
import { RequiredOfAll, selectorValues } from './workload-selectors.ts';
import { judgePid, refusalText, type VerdictDeps } from './workload-verdict.ts';

export interface WorkloadAnswerDeps {
  readonly judging: VerdictDeps;
  readonly drift: DriftWatch;
  /** What every workload must have. */
  readonly require: readonly Selector[];
  readonly log: Logger;
}

const TOLD_EVERY_MS = 60_000;
const MAX_TOLD = 4096;

/** What SPIRE is answered about a process: its selectors, or none. */
export class WorkloadAnswer {
  readonly #deps: WorkloadAnswerDeps;
  readonly #required: RequiredOfAll;
  readonly #told = new Map<string, number>();

  constructor(deps: WorkloadAnswerDeps) {
    this.#deps = deps;
    this.#required = new RequiredOfAll(deps.require);
  }

  /**
   * Selector values of a workload that is trusted and has what is required; none of any other. Its container is watched
   * from before the server is asked, so that no fall of the verdict is missed on the way.
   * Codes: spire.workload.pid, agent.caller.*, agent.workload.unattested, agent.session.lost.
   */
  async of(pid: number): Promise<string[]> {
    const { judging, drift } = this.#deps;
    // SPIRE's health check: the agent asks for itself, in no container, and a fault of every attestor means ill to it.
    if (pid === process.ppid) return [];
    if (!Number.isInteger(pid) || pid <= 0) throw new LacreError('spire.workload.pid', `${pid} is no process's pid`);
    const verdict = await judgePid({ ...judging, asking: (id) => drift.expect(id) }, pid);
    const { containerId } = verdict;
    if (!('id' in verdict)) return this.#refused(pid, containerId, refusalText(verdict.refusal));
    drift.hold(verdict);
    const missing = this.#required.missing(verdict.selectors);
    if (missing !== undefined) return this.#refused(pid, containerId, `it is trusted, but ${missing}`);
    return selectorValues(verdict.selectors);
  }

  /** A workload that asks again and again is refused each time, and told of once a minute. */
  #refused(pid: number, containerId: string, reason: string): string[] {
    const now = performance.now();
    const key = `${containerId} ${reason}`;
    if (now - (this.#told.get(key) ?? Number.NEGATIVE_INFINITY) > TOLD_EVERY_MS) {
      if (this.#told.size > MAX_TOLD) this.#told.clear();
      this.#told.set(key, now);
      this.#deps.log.warn(
        { pid, containerId, code: 'spire.workload.refused' },
        `no selectors for process ${pid}: ${reason}`,
      );
    }
    return [];
  }
}
