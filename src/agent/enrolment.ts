import { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import { equalBytes } from '../bytes/equal.ts';
import { LacreError } from '../lacre-error.ts';
import type { EnrolChallenge, EnrolRequest, EnrolResponse, EnrolResult } from '../proto/lacre/v1/node_pb.ts';
import { objectName, parsePublicArea } from '../tpm/public-area.ts';
import { enrolmentExtraData } from '../tpm/qualifying-data.ts';
import type { AgentConfig } from './config.ts';
import { type AgentIdentity, type Connection, connectServer } from './connection.ts';
import { faultOfCall, findingsText } from './connection-fault.ts';
import { createKeyAndRequest, type KeyAndRequest } from './enrolment-csr.ts';
import { enrolRequest, helloOf } from './enrolment-request.ts';
import { observeNode, readEventLog } from './evidence-observation.ts';
import type { AttestationTpm } from './evidence-tpm.ts';
import { CHUNK_BYTES, MeasurementList } from './measurement-list.ts';
import type { StateDir } from './state-dir.ts';

export interface EnrolmentDeps {
  readonly config: AgentConfig;
  readonly tpm: AttestationTpm;
  readonly state: StateDir;
  readonly log: Logger;
}

/** The node's keys as they stand in the TPM now. */
export interface NodeKeys {
  /** TPMT_PUBLIC of the EK. */
  readonly ekPublic: Uint8Array;
  /** DER, from the TPM's memory; undefined: there is none. */
  readonly ekCertificate: Uint8Array | undefined;
  /** DER: what the TPM and the configuration have between that certificate and its root. */
  readonly ekIntermediates: readonly Uint8Array[];
  /** TPMT_PUBLIC of the AK. */
  readonly akPublic: Uint8Array;
  /** nameAlg ‖ digest of the AK's public area. */
  readonly akName: Uint8Array;
}

/** As many as the server takes. */
const MAX_INTERMEDIATES = 8;
const TIMEOUT_MS = 150_000;

/** Makes EK and AK ready: the AK of the last run where this TPM still takes it, else a new one, which is saved. */
export async function prepareKeys({
  config,
  tpm,
  state,
  log,
}: Omit<EnrolmentDeps, 'config'> & {
  readonly config: Pick<AgentConfig, 'endorsementIntermediates'>;
}): Promise<NodeKeys> {
  const ek = await tpm.createEndorsementKey();
  const ekIntermediates = [...(await tpm.readIntermediates()), ...config.endorsementIntermediates].slice(
    0,
    MAX_INTERMEDIATES,
  );
  const saved = await state.attestationKey();
  const ak = await tpm.createAttestationKey(saved).catch(async (error: unknown) => {
    if (saved === undefined) throw error;
    log.warn({ err: error }, 'the TPM does not take the saved attestation key; a new one is made');
    return tpm.createAttestationKey();
  });
  if (saved === undefined || !equalBytes(saved.private, ak.private)) await state.saveAttestationKey(ak);
  return {
    ekPublic: ek.public,
    ekCertificate: ek.certificate,
    ekIntermediates,
    akPublic: ak.public,
    akName: objectName(parsePublicArea(ak.public)),
  };
}

/**
 * Enrols the node (DESIGN section 8, a to c): on return the server has appraised the whole measurement list under a
 * quote of this TPM that is bound to this very connection and to the fresh key of the identity.
 * Codes: agent.server.*, agent.session.lost, agent.protocol, agent.list.*, agent.eventlog.unreadable, agent.tpm.*.
 */
export async function enrol(deps: EnrolmentDeps, keys: NodeKeys, signal: AbortSignal): Promise<AgentIdentity> {
  const { config, state } = deps;
  const connection = await connectServer({ ...config, bundle: await state.bundle() });
  const call = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const key = createKeyAndRequest();
    const result = await exchange(deps, keys, key, connection, call);
    const identity = identityOf(result, key, config.trustDomain);
    await state.saveBundle(result.bundle);
    return identity;
  } catch (error) {
    throw faultOfCall(error);
  } finally {
    connection.close();
  }
}

async function exchange(
  deps: EnrolmentDeps,
  keys: NodeKeys,
  key: KeyAndRequest,
  connection: Connection,
  signal: AbortSignal,
): Promise<EnrolResult> {
  const challenged = Promise.withResolvers<EnrolChallenge>();
  challenged.promise.catch(() => undefined);
  const requests = enrolRequests(deps, keys, key, connection.exporter, challenged.promise);
  const responses = connection.client.enrol(requests, { signal })[Symbol.asyncIterator]();
  try {
    challenged.resolve(await expectStep(responses, 'challenge'));
    return await expectStep(responses, 'result');
  } catch (error) {
    challenged.reject(error);
    throw error;
  }
}

type Step<Case extends 'challenge' | 'result'> = Extract<EnrolResponse['step'], { case: Case }>['value'];

async function expectStep<Case extends 'challenge' | 'result'>(
  responses: AsyncIterator<EnrolResponse>,
  wanted: Case,
): Promise<Step<Case>> {
  const next = await responses.next();
  if (next.done === true) throw new LacreError('agent.protocol', `the server ended the enrolment before its ${wanted}`);
  const { step } = next.value;
  if (step.case !== wanted) {
    throw new LacreError('agent.protocol', `the server sent ${step.case ?? 'nothing'} in place of its ${wanted}`);
  }
  return step.value as Step<Case>;
}

/** Quote first, list second: so the list covers the quote. */
async function* enrolRequests(
  { config, tpm }: EnrolmentDeps,
  keys: NodeKeys,
  key: KeyAndRequest,
  exporter: Uint8Array,
  challenged: Promise<EnrolChallenge>,
): AsyncGenerator<EnrolRequest> {
  yield helloOf(keys, key.csr);
  const { credentialBlob, encryptedSecret, nonce } = await challenged;
  const secret = await tpm.activateCredential(credentialBlob, encryptedSecret);
  const { trustDomain } = config;
  const { akName, ekPublic } = keys;
  const extraData = enrolmentExtraData({ trustDomain, nonce, secret, ekPublic, akName, csr: key.csr, exporter });
  const { attest, signature } = await tpm.quote(extraData);
  for (const chunk of chunksOf(await readEventLog(config.eventLog)))
    yield enrolRequest({ case: 'eventLog', value: chunk });
  for await (const chunk of wholeList(config.measurementList)) yield enrolRequest({ case: 'list', value: chunk });
  yield enrolRequest({ case: 'evidence', value: { attest, signature, observation: observeNode() } });
}

function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

async function* wholeList(path: string): AsyncGenerator<Uint8Array> {
  const list = await MeasurementList.open(path);
  try {
    for (let chunk = await list.read(); chunk.length > 0; chunk = await list.read()) yield chunk;
  } finally {
    await list.close();
  }
}

/** Checks that the certificate is for our key and in our trust domain. Codes: agent.protocol, agent.server.refused. */
function identityOf(result: EnrolResult, key: KeyAndRequest, trustDomain: string): AgentIdentity {
  if (result.host !== undefined && !result.host.trusted) {
    throw new LacreError('agent.server.refused', `the server does not trust this node${findingsText(result.host)}`);
  }
  const [leaf] = result.certificateChain;
  if (leaf === undefined)
    throw new LacreError('agent.protocol', 'the server enrolled the node, and sent no certificate');
  const certificate = new X509Certificate(leaf);
  const publicKey = certificate.publicKey.export({ format: 'der', type: 'spki' });
  if (!equalBytes(publicKey, key.publicKey)) {
    throw new LacreError('agent.protocol', "the server sent a certificate for another key than the agent's");
  }
  if (!result.spiffeId.startsWith(`spiffe://${trustDomain}/`)) {
    throw new LacreError(
      'agent.protocol',
      `the server named the node ${JSON.stringify(result.spiffeId.slice(0, 300))}`,
    );
  }
  return {
    spiffeId: result.spiffeId,
    certificateChain: result.certificateChain,
    privateKeyPem: key.privateKeyPem,
    issuedAt: new Date(),
    expiresAt: certificate.validToDate,
  };
}
