import { setImmediate as nextTurn } from 'node:timers/promises';
import { DEFAULT_EVIDENCE_AGE_MS } from '../appraisal/selector/requirement.ts';
import { sha256 } from '../bytes/sha256.ts';
import { type ClaimedRecord, decodeRecord } from '../container/record.ts';
import { LacreError } from '../lacre-error.ts';
import type { Evidence, WorkloadRequest } from '../proto/lacre/v1/node_pb.ts';
import { WorkloadRequest_Kind as Kind } from '../proto/lacre/v1/node_pb.ts';
import type { VerifiedAttestationKey } from '../tpm/attestation-key.ts';
import type { PcrBank } from '../tpm/constants.ts';
import { batchRoot, quoteExtraData, type SubjectKind, workloadLeaf } from '../tpm/qualifying-data.ts';
import { type VerifiedQuote, verifyQuote } from '../tpm/quote.ts';
import { LIMITS } from './limits.ts';

/** A request whose leaf this server computed from the very bytes that it will appraise. */
export interface BatchRequest {
  readonly id: bigint;
  readonly kind: SubjectKind;
  readonly record: ClaimedRecord;
  /** X509_SVID: SubjectPublicKeyInfo, DER. */
  readonly subject: Uint8Array;
  readonly leaf: Uint8Array;
  /** Verdicts only: evidence older than this, in milliseconds, is of no use. */
  readonly maxEvidenceAgeMs: number;
}

/** Requests that are decoded and hashed without a pause: a few milliseconds. */
const REQUESTS_PER_TURN = 64;

/** Requests of one Evidence in the order of the tree's leaves, and the ids that it confirms. */
export interface Batch {
  readonly requests: readonly BatchRequest[];
  readonly confirms: readonly bigint[];
  readonly root: Uint8Array;
  readonly count: number;
}

/**
 * Bounds and decodes one request. Record and subject are claims of the node.
 * Codes: server.protocol, server.limit, container.*.
 */
function parseRequest(request: WorkloadRequest): BatchRequest {
  if (request.record.length > LIMITS.recordBytes) throw oversized('record', LIMITS.recordBytes);
  if (request.subject.length > LIMITS.subjectBytes) throw oversized('subject', LIMITS.subjectBytes);
  const kind = subjectKind(request);
  const record = decodeRecord(request.record);
  return {
    id: request.id,
    kind,
    record,
    subject: request.subject,
    leaf: workloadLeaf(kind, record.sha256, sha256(request.subject)),
    maxEvidenceAgeMs: request.maxEvidenceAgeMs || DEFAULT_EVIDENCE_AGE_MS,
  };
}

/** Bounds and decodes the requests of one message. Codes: as parseRequest. */
export async function parseRequests(
  messages: readonly WorkloadRequest[],
  maxRequests: number,
): Promise<BatchRequest[]> {
  if (messages.length > maxRequests) throw oversized('requests', maxRequests);
  const requests: BatchRequest[] = [];
  for (const message of messages) {
    requests.push(parseRequest(message));
    if (requests.length % REQUESTS_PER_TURN === 0) await nextTurn();
  }
  if (new Set(requests.map(({ id }) => id)).size < requests.length) {
    throw new LacreError('server.protocol', 'two requests of one message have the same id');
  }
  return requests;
}

/**
 * Computes the tree that the quote must hold: leaves of the requests, then of what is confirmed.
 * @param confirmed leaf of a request that was answered on reused evidence and waits for this; undefined: there is none.
 * Codes: server.protocol (a confirmation of nothing), server.limit, tpm.* (equal leaves), container.*.
 */
export async function parseBatch(
  evidence: Evidence,
  maxRequests: number,
  confirmed: (id: bigint) => Uint8Array | undefined,
): Promise<Batch> {
  if (evidence.confirms.length > maxRequests) throw oversized('confirms', maxRequests);
  const requests = await parseRequests(evidence.requests, maxRequests);
  const leaves = requests.map((request) => request.leaf);
  for (const id of evidence.confirms) {
    const leaf = confirmed(id);
    if (leaf === undefined) {
      throw new LacreError('server.protocol', `evidence confirms request ${id}, which waits for no confirmation`);
    }
    leaves.push(leaf);
  }
  return { requests, confirms: evidence.confirms, root: batchRoot(leaves), count: leaves.length };
}

/**
 * Proves that this node's TPM quoted for this batch, this nonce and this connection: extraData is recomputed from
 * bytes of ours. What the PCR digest stands for is proven by the list replay alone.
 * Codes: tpm.*.
 */
export function verifyEvidence(input: {
  readonly evidence: Evidence;
  readonly batch: Batch;
  readonly nonce: Uint8Array;
  readonly key: VerifiedAttestationKey;
  readonly exporter: Uint8Array;
  /** Of the boot log that the session began with. */
  readonly bank: PcrBank;
}): VerifiedQuote {
  const { evidence, batch, nonce, key, exporter, bank } = input;
  if (evidence.attest.length > LIMITS.attestBytes) throw oversized('attest', LIMITS.attestBytes);
  if (evidence.signature.length > LIMITS.signatureBytes) throw oversized('signature', LIMITS.signatureBytes);
  return verifyQuote({
    attest: evidence.attest,
    signature: evidence.signature,
    key,
    extraData: quoteExtraData({ akName: key.name, exporter, nonce, root: batch.root, count: batch.count }),
    bank,
  });
}

function subjectKind(request: WorkloadRequest): SubjectKind {
  switch (request.kind) {
    case Kind.X509_SVID:
      if (request.subject.length === 0) throw new LacreError('server.protocol', 'an X.509-SVID is asked for no key');
      return 1;
    case Kind.BUNDLE:
      return 3;
    case Kind.VERDICT:
      return 4;
    case Kind.JWT_SVID:
      throw new LacreError('server.protocol', 'JWT-SVIDs are not issued by this server');
    default:
      throw new LacreError('server.protocol', `request ${request.id} is of no known kind`);
  }
}

function oversized(what: string, bound: number): LacreError {
  return new LacreError('server.limit', `${what} of a request or of evidence is over its bound of ${bound}`, { bound });
}
