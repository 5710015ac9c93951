import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import type { Logger } from 'pino';
import * as z from 'zod';
import { openWhenUsed } from '../agent/agent-parts.ts';
import { AgentConfigSchema } from '../agent/config-schema.ts';
import { type NodeKeys, prepareKeys } from '../agent/enrolment.ts';
import { observeNode, readEventLog } from '../agent/evidence-observation.ts';
import type { AttestationTpm } from '../agent/evidence-tpm.ts';
import { CHUNK_BYTES, MeasurementList } from '../agent/measurement-list.ts';
import { StateDir } from '../agent/state-dir.ts';
import { TpmClient } from '../agent/tpm-client.ts';
import { LacreError } from '../lacre-error.ts';
import { type EnrolRequest, EnrolRequestSchema } from '../proto/lacre/v1/node_pb.ts';
import { SpireChallengeSchema, SpireStepsSchema, type VerifyNodeChallenge } from '../proto/lacre/v1/spire_pb.ts';
import {
  type Challenge,
  type PayloadOrChallengeResponse,
  PayloadOrChallengeResponseSchema,
  NodeAttestor as Service,
} from '../proto/spire/plugin/agent/nodeattestor/v1/nodeattestor_pb.ts';
import { enrolmentExtraData, spireExporter } from '../tpm/qualifying-data.ts';
import { VERSION } from '../version.ts';
import { checkPluginConfig, readPluginConfig } from './plugin-config.ts';
import type { Plugin } from './plugin-runtime.ts';
import { statusOf } from './plugin-status.ts';
import { intermediatesAt, nodeShape } from './workload-config.ts';

/** plugin_data of NodeAttestor "lacre_tpm" of spire-agent. */
export const AgentHalfConfigSchema = z.strictObject({
  data_dir: AgentConfigSchema.shape.data_dir.unwrap().default('/var/lib/lacre/spire-node'),
  ...nodeShape,
});

interface AgentHalfConfig {
  readonly trustDomain: string;
  readonly tpm: string;
  readonly endorsementIntermediates: readonly Uint8Array[];
  readonly measurementList: string;
  readonly eventLog: string;
  readonly state: StateDir;
  /** Up to where the server verified the list in this boot: known to this process alone. */
  verifiedBytes: number;
}

/** SPIRE takes 4 MiB; a message holds steps up to about this size. */
const MESSAGE_BYTES = 2 * 1024 * 1024;

/** NodeAttestor "lacre_tpm", agent half: EK, AK, activation, quote, event log and measurement list of this node. */
export function createAgentHalf({ log }: { readonly log: Logger }): Plugin {
  let config: AgentHalfConfig | undefined;
  async function* aid(
    challenges: AsyncIterable<Challenge>,
    { signal }: HandlerContext,
  ): AsyncGenerator<PayloadOrChallengeResponse> {
    // A configuration that comes meanwhile may name another list.
    const current = config;
    try {
      if (current === undefined) throw new LacreError('spire.plugin.unconfigured', 'the plugin has no configuration');
      const { verifiedBytes } = current;
      const challenged = challenges[Symbol.asyncIterator]();
      current.verifiedBytes = yield* attest(current, challenged, { verifiedBytes, signal, log });
    } catch (error) {
      if (current !== undefined) current.verifiedBytes = 0;
      throw statusOf(error, log);
    }
  }
  return {
    type: 'NodeAttestor',
    service: Service,
    routes: (router: ConnectRouter) => router.service(Service, { aidAttestation: aid }),
    configure: async (trustDomain, text) => {
      const file = readPluginConfig({ schema: AgentHalfConfigSchema, text });
      config = {
        trustDomain,
        tpm: file.tpm,
        endorsementIntermediates: await intermediatesAt(file.endorsement_intermediates),
        measurementList: file.measurement_list,
        eventLog: file.event_log,
        state: await StateDir.open(file.data_dir, []),
        verifiedBytes: 0,
      };
    },
    validate: async (_trustDomain, text) => checkPluginConfig({ schema: AgentHalfConfigSchema, text }).faults,
    stop: async () => undefined,
  };
}

/** One attestation; the TPM is held no longer than it lasts. Returns how many bytes of the list were sent. */
async function* attest(
  config: AgentHalfConfig,
  challenges: AsyncIterator<Challenge>,
  {
    verifiedBytes,
    signal,
    log,
  }: { readonly verifiedBytes: number; readonly signal: AbortSignal; readonly log: Logger },
): AsyncGenerator<PayloadOrChallengeResponse, number> {
  const { trustDomain } = config;
  const tpm = openWhenUsed(() => TpmClient.open(config.tpm));
  const closeTpm = () => void tpm.close().catch(() => undefined);
  signal.addEventListener('abort', closeTpm, { once: true });
  const keys = await prepareKeys({ config, tpm, state: config.state, log }).catch(async (error: unknown) => {
    await tpm.close();
    throw error;
  });
  let challenge: VerifyNodeChallenge;
  let evidence: EnrolRequest;
  try {
    yield message('payload', [helloOf(keys)], false, trustDomain);
    const step = await nextChallenge(challenges);
    if (step.case !== 'challenge') throw outOfOrder();
    challenge = step.value;
    evidence = await evidenceOf(config, tpm, keys, challenge);
  } finally {
    await tpm.close();
  }
  const offset = Number(challenge.resumeOffset);
  return yield* send(config, challenges, evidence, { offset: offset === verifiedBytes ? offset : 0, signal, log });
}

/** Event log, list and evidence, in messages that SPIRE takes; the list from `offset` on. Returns its length in bytes. */
async function* send(
  config: AgentHalfConfig,
  challenges: AsyncIterator<Challenge>,
  evidence: EnrolRequest,
  { offset, signal, log }: { readonly offset: number; readonly signal: AbortSignal; readonly log: Logger },
): AsyncGenerator<PayloadOrChallengeResponse, number> {
  const list = await MeasurementList.open(config.measurementList, offset);
  // Of a stream that SPIRE ended nothing more is read; nobody may come to read its end.
  signal.addEventListener('abort', () => void list.close(), { once: true });
  try {
    const steps = stepsOf(offset > 0 ? new Uint8Array() : await readEventLog(config.eventLog), list, evidence);
    for await (const { batch, more } of batchesOf(steps)) {
      if (!more) tellSent(log, list.position - offset, offset);
      yield message('challengeResponse', batch, more);
      if (more && (await nextChallenge(challenges)).case !== 'more') throw outOfOrder();
    }
    return list.position;
  } finally {
    await list.close();
  }
}

function tellSent(log: Logger, sentBytes: number, resumedFrom: number): void {
  log.info({ sentBytes, resumedFrom }, `evidence is sent, with ${sentBytes} bytes of the measurement list`);
}

function helloOf(keys: NodeKeys): EnrolRequest {
  return request({
    case: 'hello',
    value: {
      ekCertificate: keys.ekCertificate ?? new Uint8Array(),
      ekIntermediates: [...keys.ekIntermediates],
      ekPublic: keys.ekPublic,
      akPublic: keys.akPublic,
      agentVersion: VERSION,
    },
  });
}

/** The quote is made before the list is read: so the list covers it. */
async function evidenceOf(
  { trustDomain }: AgentHalfConfig,
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
  return request({ case: 'evidence', value: { attest: quoted, signature, observation: await observeNode() } });
}

async function* stepsOf(
  eventLog: Uint8Array,
  list: MeasurementList,
  evidence: EnrolRequest,
): AsyncGenerator<EnrolRequest> {
  for (let at = 0; at < eventLog.length; at += CHUNK_BYTES) {
    yield request({ case: 'eventLog', value: eventLog.subarray(at, at + CHUNK_BYTES) });
  }
  for (let chunk = await list.read(); chunk.length > 0; chunk = await list.read())
    yield request({ case: 'list', value: chunk });
  yield evidence;
}

/** Steps in messages that SPIRE takes; the last holds the evidence. */
async function* batchesOf(
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

async function nextChallenge(challenges: AsyncIterator<Challenge>) {
  const next = await challenges.next();
  if (next.done === true)
    throw new LacreError('spire.node.refused', 'spire-server ended the attestation; its log says why');
  try {
    return fromBinary(SpireChallengeSchema, next.value.challenge).step;
  } catch (cause) {
    throw new LacreError(
      'spire.node.protocol',
      "spire-server's challenge is none of plugin lacre_tpm's",
      {},
      { cause },
    );
  }
}

function outOfOrder(): LacreError {
  return new LacreError('spire.node.protocol', "a challenge of spire-server's plugin came out of order");
}

function message(kind: 'payload' | 'challengeResponse', steps: EnrolRequest[], more: boolean, trustDomain = '') {
  const value = toBinary(SpireStepsSchema, create(SpireStepsSchema, { steps, more, trustDomain }));
  return create(PayloadOrChallengeResponseSchema, { data: { case: kind, value } });
}

function request(step: MessageInitShape<typeof EnrolRequestSchema>['step']): EnrolRequest {
  return create(EnrolRequestSchema, { step: step ?? { case: undefined } });
}
