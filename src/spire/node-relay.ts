import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { LacreError } from '../lacre-error.ts';
import type { EnrolRequest } from '../proto/lacre/v1/node_pb.ts';
import {
  NodeVerifier,
  SpireChallengeSchema,
  type SpireSteps,
  SpireStepsSchema,
  type VerifyNodeResponse,
  type VerifyNodeResult,
} from '../proto/lacre/v1/spire_pb.ts';
import {
  type AttestRequest,
  type AttestResponse,
  AttestResponseSchema,
} from '../proto/spire/plugin/server/nodeattestor/v1/nodeattestor_pb.ts';
import type { UnixClient } from '../unix-client.ts';
import { selectorValues } from './workload-selectors.ts';

/** Steps of one message of SPIRE: a few chunks of 512 KiB, hello or evidence. */
const MAX_STEPS = 64;
/** A certificate and eight issuers of 16 KiB each, and the keys. */
const MAX_PAYLOAD_BYTES = 256 * 1024;
const ATTESTATION_MS = 150_000;

/** Where an attestation is judged. */
export interface RelayPlace {
  /** spire-server's, which node and Lacre server must share. */
  readonly trustDomain: string;
  readonly verifier: UnixClient;
}

/**
 * Carries one attestation from SPIRE to the Lacre server's verifier and back, one message of SPIRE at a time.
 * Codes: spire.node.protocol, spire.node.trust-domain; a ConnectError with the verifier's own status.
 * @param signal of SPIRE, which gave up the attestation
 */
export async function* relay(
  { trustDomain, verifier }: RelayPlace,
  requests: AsyncIterator<AttestRequest>,
  signal: AbortSignal,
): AsyncGenerator<AttestResponse> {
  const payload = await nextSteps(requests, 'payload');
  if (payload.trustDomain !== trustDomain) {
    const theirs = JSON.stringify(payload.trustDomain.slice(0, 255));
    throw new LacreError(
      'spire.node.trust-domain',
      `the node's plugin is of trust domain ${theirs}, and spire-server of ${trustDomain}`,
    );
  }
  const outgoing = new Outgoing();
  const ended = new AbortController();
  outgoing.push(payload.steps);
  const call = verifier.service(NodeVerifier).verifyNode(outgoing, {
    // Of an attestation that SPIRE gave up the verifier keeps no place.
    signal: AbortSignal.any([signal, ended.signal, AbortSignal.timeout(ATTESTATION_MS)]),
  });
  const responses = call[Symbol.asyncIterator]();
  try {
    const challenged = await nextResponse(responses);
    if (challenged.case !== 'challenge') throw new LacreError('spire.node.protocol', 'the verifier sent no challenge');
    yield challengeOf({ case: 'challenge', value: challenged.value });
    // A verifier that refuses what came so far ends it, whatever the node still means to send.
    const result = nextResponse(responses);
    for (;;) {
      const { steps, more } = await beforeEnd(nextSteps(requests, 'challengeResponse'), result);
      outgoing.push(steps);
      if (!more) break;
      await beforeEnd(outgoing.taken(), result);
      yield challengeOf({ case: 'more', value: {} });
    }
    const last = await result;
    if (last.case !== 'result') throw new LacreError('spire.node.protocol', 'the verifier sent no result');
    yield attributesOf(last.value, trustDomain);
  } finally {
    outgoing.end();
    ended.abort();
  }
}

/** Rejects where the verifier ends first. */
async function beforeEnd<T>(work: Promise<T>, end: Promise<unknown>): Promise<T> {
  const ended = end.then(() => {
    throw new LacreError('spire.node.protocol', 'the verifier ended before the evidence did');
  });
  // Of these two one is left alone.
  for (const promise of [work, ended]) promise.catch(() => undefined);
  return Promise.race([work, ended]);
}

function attributesOf({ spiffeId, selectors }: VerifyNodeResult, trustDomain: string): AttestResponse {
  if (!spiffeId.startsWith(`spiffe://${trustDomain}/spire/agent/lacre_tpm/`)) {
    throw new LacreError(
      'spire.node.trust-domain',
      `the Lacre server is of another trust domain: it named the node ${spiffeId}`,
    );
  }
  const value = { spiffeId, selectorValues: selectorValues(selectors), canReattest: true };
  return create(AttestResponseSchema, { response: { case: 'agentAttributes', value } });
}

function challengeOf(step: MessageInitShape<typeof SpireChallengeSchema>['step']): AttestResponse {
  const value = toBinary(SpireChallengeSchema, create(SpireChallengeSchema, { step: step ?? { case: undefined } }));
  return create(AttestResponseSchema, { response: { case: 'challenge', value } });
}

async function nextSteps(
  requests: AsyncIterator<AttestRequest>,
  wanted: 'payload' | 'challengeResponse',
): Promise<SpireSteps> {
  const next = await requests.next();
  if (next.done === true)
    throw new LacreError('spire.node.protocol', 'the node ended the attestation before its evidence came');
  const { request } = next.value;
  if (request.case !== wanted) throw new LacreError('spire.node.protocol', `SPIRE sent no ${wanted} where one is due`);
  return parseSteps(request.value, wanted);
}

/**
 * What a node sent, well-formed and untrusted. Codes: spire.node.protocol.
 * @param kind a payload holds the hello alone, so it is short
 */
export function parseSteps(bytes: Uint8Array, kind: 'payload' | 'challengeResponse'): SpireSteps {
  if (kind === 'payload' && bytes.length > MAX_PAYLOAD_BYTES)
    throw new LacreError('spire.node.protocol', `the node's payload is longer than ${MAX_PAYLOAD_BYTES} bytes`);
  try {
    const count = countSteps(bytes);
    if (count > 0 && count <= MAX_STEPS) return fromBinary(SpireStepsSchema, bytes);
  } catch (cause) {
    throw new LacreError('spire.node.protocol', "the node's payload is none of plugin lacre_tpm's", {}, { cause });
  }
  throw new LacreError('spire.node.protocol', `a message of the node has 1 to ${MAX_STEPS} steps`);
}

/** Before anything is made of them: four megabytes may hold two million. Throws where it is no protobuf. */
function countSteps(bytes: Uint8Array): number {
  const reader = new BinaryReader(bytes);
  let count = 0;
  while (reader.pos < reader.len && count <= MAX_STEPS) {
    const [field, wireType] = reader.tag();
    if (field === SpireStepsSchema.field.steps.number) count += 1;
    reader.skip(wireType, field);
  }
  return count;
}

async function nextResponse(responses: AsyncIterator<VerifyNodeResponse>): Promise<VerifyNodeResponse['step']> {
  const next = await responses.next();
  if (next.done === true) throw new LacreError('spire.node.protocol', 'the verifier ended before its answer');
  return next.value.step;
}

/** Steps on their way to the verifier: those of one message of SPIRE at a time. */
class Outgoing implements AsyncIterable<EnrolRequest> {
  readonly #queue: EnrolRequest[] = [];
  #wake: () => void = () => undefined;
  #taken: () => void = () => undefined;
  #ended = false;

  push(steps: readonly EnrolRequest[]): void {
    this.#queue.push(...steps);
    this.#wake();
  }

  /** Resolves when the verifier asks for more than there is. */
  taken(): Promise<void> {
    return new Promise((resolve) => {
      this.#taken = resolve;
      this.#wake();
    });
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<EnrolRequest> {
    while (!this.#ended) {
      const next = this.#queue.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      this.#taken();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
