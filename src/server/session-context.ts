import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import type { Verdict } from '../appraisal/verdict.ts';
import { type AnswerSchema, type AttestResponse, AttestResponseSchema } from '../proto/lacre/v1/node_pb.ts';
import type { VerifiedAttestationKey } from '../tpm/attestation-key.ts';
import type { AnswerEntries } from './answer-entries.ts';
import type { ClockPoint } from './epoch.ts';
import type { IssueBudget } from './issue-budget.ts';
import { LIMITS } from './limits.ts';
import type { NodeState } from './node-state.ts';
import type { NonceBook } from './nonce.ts';
import type { ServerDeps } from './server-deps.ts';
import type { Outbox } from './session-outbox.ts';
import type { Subscriptions } from './session-subscriptions.ts';
import type { EpochRow } from './store-evidence.ts';
import type { NodeRow } from './store-nodes.ts';

/** The largest answer, a refusal with all findings of its verdict, has some 100 KiB; an agent takes messages of 4 MiB. */
export const ANSWERS_PER_MESSAGE = 32;

/** Evidence that explained everything it quoted; only this session may use it. */
export interface CurrentEvidence {
  /** When its nonce was made. */
  readonly time: Date;
  /** The same by performance.now. */
  readonly steadyMs: number;
  readonly host: Verdict;
}

/** What the parts of one session share. */
export interface SessionContext {
  readonly deps: ServerDeps;
  readonly node: NodeRow;
  readonly fence: number;
  readonly agentVersion: string;
  /** Of this connection (RFC 9266), 32 bytes. */
  readonly exporter: Uint8Array;
  /** Lets the node send more ahead. */
  readonly widen: () => void;
  readonly key: VerifiedAttestationKey;
  readonly outbox: Outbox<AttestResponse>;
  readonly nonces: NonceBook;
  readonly state: NodeState;
  readonly subscriptions: Subscriptions;
  readonly budget: IssueBudget;
  readonly entries: AnswerEntries;
  /** Newest refusal that watchers were told, by container. */
  readonly told: Map<string, string>;
  /** Undefined before the first quote of this session, and whenever the newest quote was no evidence. */
  evidence: CurrentEvidence | undefined;
  /** Newest evidence of this session, usable for issuing or not: what holds an identity is judged anew on it. */
  last: CurrentEvidence | undefined;
  /** Newest quote's point in the TPM's life. */
  clock: ClockPoint | undefined;
  /** As last written by this session, or found by it. */
  epoch: EpochRow | undefined;
  /** When every holder of an identity was last to be judged anew. */
  judgedAt: Date;
  /** Containers that are to be judged anew, and whether a turn for them is planned. */
  readonly waiting: Set<string>;
  judging: boolean;
  /** Grows with every change from outside (entries, references, node) while an answer is made. */
  revision: number;
}

export function send(context: SessionContext, message: MessageInitShape<typeof AttestResponseSchema>['message']): void {
  context.outbox.push(create(AttestResponseSchema, { message: message ?? { case: undefined } }));
}

/** How many requests one message of this session may hold. */
export function maxRequests({ deps }: SessionContext): number {
  return Math.min(deps.config.limits.requestsPerEvidence, LIMITS.requestsPerEvidence);
}

/** Answers go together, as many as one message surely has room for. */
export function sendAnswers(context: SessionContext, answers: readonly MessageInitShape<typeof AnswerSchema>[]): void {
  for (let at = 0; at < answers.length; at += ANSWERS_PER_MESSAGE) {
    send(context, { case: 'answers', value: { answers: answers.slice(at, at + ANSWERS_PER_MESSAGE) } });
  }
}

export function nodeLabel(node: NodeRow): string {
  return node.name === '' ? node.spiffeId : node.name;
}
