import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { openWhenUsed } from '../agent/agent-parts.ts';
import { prepareKeys } from '../agent/enrolment.ts';
import { helloOf } from '../agent/enrolment-request.ts';
import { readEventLog } from '../agent/evidence-observation.ts';
import { MeasurementList } from '../agent/measurement-list.ts';
import { StateDir } from '../agent/state-dir.ts';
import { TpmClient } from '../agent/tpm-client.ts';
import { LacreError } from '../lacre-error.ts';
import type { EnrolRequest } from '../proto/lacre/v1/node_pb.ts';
import type { VerifyNodeChallenge } from '../proto/lacre/v1/spire_pb.ts';
import {
  type Challenge,
  type PayloadOrChallengeResponse,
  NodeAttestor as Service,
} from '../proto/spire/plugin/agent/nodeattestor/v1/nodeattestor_pb.ts';
import { AgentHalfConfigSchema } from './node-config.ts';
import { batchesOf, evidenceOf, messageOf, outOfOrder, parseChallenge, stepsOf } from './node-evidence.ts';
import { checkPluginConfig, readPluginConfig } from './plugin-config.ts';
import type { Plugin } from './plugin-runtime.ts';
import { statusOf } from './plugin-status.ts';
import { intermediatesAt } from './workload-config.ts';

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
    yield messageOf('payload', [helloOf(keys)], false, trustDomain);
    const step = await nextChallenge(challenges);
    if (step.case !== 'challenge') throw outOfOrder();
    challenge = step.value;
    evidence = await evidenceOf(trustDomain, tpm, keys, challenge);
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
      yield messageOf('challengeResponse', batch, more);
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

async function nextChallenge(challenges: AsyncIterator<Challenge>) {
  const next = await challenges.next();
  if (next.done === true)
    throw new LacreError('spire.node.refused', 'spire-server ended the attestation; its log says why');
  return parseChallenge(next.value.challenge);
}
