import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { NodeKeys } from '../agent/enrolment.ts';
import { enrolRequest } from '../agent/enrolment-request.ts';
import { observeNode } from '../agent/evidence-observation.ts';
import type { AttestationTpm } from '../agent/evidence-tpm.ts';
import { CHUNK_BYTES, type MeasurementList } from '../agent/measurement-list.ts';
import { LacreError } from '../lacre-error.ts';
import type { EnrolRequest } from '../proto/lacre/v1/node_pb.ts';
import {
  type SpireChallenge,
  SpireChallengeSchema,
  SpireStepsSchema,
  type VerifyNodeChallenge,
} from '../proto/lacre/v1/spire_pb.ts';
import {
  type PayloadOrChallengeResponse,
  PayloadOrChallengeResponseSchema,
} from '../proto/spire/plugin/agent/nodeattestor/v1/nodeattestor_pb.ts';
import { enrolmentExtraData, spireExporter } from '../tpm/qualifying-data.ts';

/** SPIRE takes 4 MiB; a message holds steps up to about this size. */
const MESSAGE_BYTES = 2 * 1024 * 1024;
/** A credential, an encrypted secret and a nonce. */
const MAX_CHALLENGE_BYTES = 64 * 1024;

/**
 * Activation and quote of this challenge. The quote is made before the list is read: so the list covers it.
 * Codes: spire.node.protocol, tpm and agent codes of the TPM's faults.
 */
export async function evidenceOf(
  trustDomain: string,
  tpm: AttestationTpm,
  { ekPublic, akName }: NodeKeys,
  { challenge }: VerifyNodeChallenge,
): Promise<EnrolRequest> {
  if (challenge === undefined) throw outOfOrder();
  const { credentialBlob, encryptedSecret, nonce } = challenge;
  if (nonce.length !== 32) throw new LacreError('spire.node.protocol', 'the challenge has no nonce of 32 bytes');
  const secret = await tpm.activateCredential(credentialBlob, encryptedSecret);
  const exporter = spireExporter(nonce);
  const csr = new Uint8Array();
  const { attest: quoted, signature } = await tpm.quote(
    enrolmentExtraData({ trustDomain, nonce, secret, ekPublic, akName, csr, exporter }),
  );
  return enrolRequest({ case: 'evidence', value: { attest: quoted, signature, observation: observeNode() } });
}

/** Event log, list and evidence, in the order in which the verifier takes them. */
export async function* stepsOf(
  eventLog: Uint8Array,
  list: MeasurementList,
  evidence: EnrolRequest,
): AsyncGenerator<EnrolRequest> {
  for (let at = 0; at < eventLog.length; at += CHUNK_BYTES) {
    yield enrolRequest({ case: 'eventLog', value: eventLog.subarray(at, at + CHUNK_BYTES) });
  }
  for (let chunk = await list.read(); chunk.length > 0; chunk = await list.read())
    yield enrolRequest({ case: 'list', value: chunk });
  yield evidence;
}

/** Steps in messages that SPIRE takes; the last holds the evidence. */
export async function* batchesOf(
  steps: AsyncIterable<EnrolRequest>,
): AsyncGenerator<{ batch: EnrolRequest[]; more: boolean }> {
  let batch: EnrolRequest[] = [];
  let bytes = 0;
  for await (const one of steps) {
    const { step } = one;
    const length = step.case === 'list' || step.case === 'eventLog' ? step.value.length : 0;
    if (bytes + length > MESSAGE_BYTES) {
      yield { batch, more: true };
      batch = [];
      bytes = 0;
    }
    batch.push(one);
    bytes += length;
  }
  yield { batch, more: false };
}

/** What spire-server's half asks, well-formed and untrusted. Codes: spire.node.protocol. */
export function parseChallenge(bytes: Uint8Array): SpireChallenge['step'] {
  if (bytes.length > MAX_CHALLENGE_BYTES)
    throw new LacreError('spire.node.protocol', `a challenge is longer than ${MAX_CHALLENGE_BYTES} bytes`);
  try {
    return fromBinary(SpireChallengeSchema, bytes).step;
  } catch (cause) {
    const sentence = "spire-server's challenge is none of plugin lacre_tpm's";
    throw new LacreError('spire.node.protocol', sentence, {}, { cause });
  }
}

/** A message of SPIRE that holds steps. */
export function messageOf(
  kind: 'payload' | 'challengeResponse',
  steps: EnrolRequest[],
  more: boolean,
  trustDomain = '',
): PayloadOrChallengeResponse {
  const value = toBinary(SpireStepsSchema, create(SpireStepsSchema, { steps, more, trustDomain }));
  return create(PayloadOrChallengeResponseSchema, { data: { case: kind, value } });
}

/** spire.node.protocol */
export function outOfOrder(): LacreError {
  return new LacreError('spire.node.protocol', "a challenge of spire-server's plugin came out of order");
}
