import type { Logger } from 'pino';
import type { NodeParts, WorkloadProcess } from '../agent/agent-parts.ts';
import { findingsText } from '../agent/connection-fault.ts';
import type { SessionLink, WorkloadSession } from '../agent/session-link.ts';
import { random16 } from '../bytes/random-16.ts';
import { LacreError } from '../lacre-error.ts';
import type { Identities, Refusal } from '../proto/lacre/v1/node_pb.ts';

/** A verdict that trusts the workload, of the session that gave it. */
export interface TrustedWorkload {
  readonly containerId: string;
  /** "type:value" */
  readonly selectors: readonly string[];
  readonly evidenceAgeMs: number;
  readonly session: WorkloadSession;
  /** Of the request: held until it is released, so that the server tells when the verdict falls. */
  readonly id: bigint;
}

/** A verdict that doesn't. */
export interface RefusedWorkload {
  readonly containerId: string;
  readonly refusal: Refusal;
}

const TRIES = 3;
const REPLACED_WAIT_MS = 100;

export interface VerdictDeps {
  readonly link: SessionLink;
  readonly parts: Pick<NodeParts, 'pinPid'>;
  readonly maxEvidenceAgeMs: number;
  readonly log: Logger;
  /** Is told of the container before the server is asked. */
  readonly asking?: (containerId: string) => void;
}

/**
 * Asks the server for its verdict over the process that has this pid, which is held by a pidfd for as long as that
 * takes. Codes: agent.caller.*, agent.workload.unattested, agent.session.lost.
 */
export async function judgePid(deps: VerdictDeps, pid: number): Promise<TrustedWorkload | RefusedWorkload> {
  const process = deps.parts.pinPid(pid);
  try {
    const verdict = await judge(deps, process);
    try {
      process.requireAlive();
    } catch (error) {
      if ('id' in verdict) verdict.session.release(verdict.id);
      throw error;
    }
    return verdict;
  } finally {
    process.close();
  }
}

async function judge(deps: VerdictDeps, process: WorkloadProcess): Promise<TrustedWorkload | RefusedWorkload> {
  let underQuote = false;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const verdict = await askOnce(deps, process, underQuote);
      const passing = 'id' in verdict ? isTooOld(deps, verdict) : isPassing(verdict.refusal);
      if (!passing) return verdict;
      if ('id' in verdict) verdict.session.release(verdict.id);
      if (attempt >= TRIES) return 'id' in verdict ? tooOld(deps) : verdict;
      underQuote = true;
    } catch (error) {
      // A session that a newer one replaced takes its requests with it.
      const replaced = error instanceof LacreError && error.code === 'agent.session.lost';
      if (!replaced || attempt >= TRIES) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, REPLACED_WAIT_MS);
      });
    }
  }
}

async function askOnce(
  { link, maxEvidenceAgeMs, asking }: VerdictDeps,
  process: WorkloadProcess,
  underQuote: boolean,
): Promise<TrustedWorkload | RefusedWorkload> {
  const session = link.requireSession();
  const { bytes: record, containerId, containerSha256Hex } = await process.record();
  asking?.(containerId);
  const ask = { containerId, kind: 4, record, subject: random16(), maxEvidenceAgeMs } as const;
  const { id, outcome } = await session.ask(ask, containerSha256Hex, { underQuote });
  const answer = await outcome;
  if (answer.case === 'refusal') return { containerId, refusal: answer.value };
  const { selectors, evidenceAgeMs }: Identities = answer.value;
  return { containerId, selectors, evidenceAgeMs: Number(evidenceAgeMs), session, id };
}

/** Nothing is wrong with the workload: the container changed between its record and the server's look at it, or so. */
function isPassing({ retry, code }: Refusal): boolean {
  return retry || code === 'server.workload.unknown';
}

function isTooOld({ maxEvidenceAgeMs }: VerdictDeps, { evidenceAgeMs }: TrustedWorkload): boolean {
  return evidenceAgeMs > maxEvidenceAgeMs;
}

function tooOld({ maxEvidenceAgeMs }: VerdictDeps): never {
  throw new LacreError('agent.session.lost', `no evidence younger than ${maxEvidenceAgeMs} ms could be had`);
}

/** A refusal in one line: its sentence, and the first findings. */
export function refusalText({ sentence, verdict }: Refusal): string {
  return `${sentence}${findingsText(verdict)}`;
}
