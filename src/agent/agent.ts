import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { Attestation, type AttestationDeps } from './agent-attestation.ts';
import { BackOff } from './back-off.ts';
import type { AgentConfig } from './config.ts';
import { findingsText } from './connection-fault.ts';
import type { NodeContainers } from './evidence.ts';
import type { AttestationTpm } from './evidence-tpm.ts';
import { SessionLink } from './session-link.ts';
import { StateDir } from './state-dir.ts';
import { serveWorkloadApi } from './workload-api.ts';
import type { PinnedCaller } from './workload-connection.ts';

/** What the agent stands on: the node's TPM, its containers, and who calls. */
export interface AgentParts {
  readonly tpm: AttestationTpm;
  readonly containers: NodeContainers;
  pinCaller(socket: Socket): PinnedCaller;
  close(): Promise<void>;
}

export interface RunningAgent {
  /** Ends streams with UNAVAILABLE and the session, and frees the TPM. */
  stop(): Promise<void>;
}

/**
 * Starts the agent: resolves when the Workload API listens. Attestation goes on by itself from then on; until the
 * server has judged this node, callers get UNAVAILABLE.
 * Codes: agent.state.invalid, agent.workload.socket.
 */
export async function startAgent(
  config: AgentConfig,
  parts: AgentParts,
  log: Logger,
  options: Pick<AttestationDeps, 'renewalMs'> = {},
): Promise<RunningAgent> {
  const state = await StateDir.open(config.dataDir, config.bundle);
  const backOff = new BackOff();
  const link = openLink(state, backOff, log);
  const { path, trustDomain } = { path: config.workloadSocket, trustDomain: config.trustDomain };
  const api = await serveWorkloadApi({ path, trustDomain, link, log, pinCaller: (socket) => parts.pinCaller(socket) });
  const stop = new AbortController();
  const { tpm, containers } = parts;
  const attesting = new Attestation({ config, tpm, state, containers, link, backOff, log, ...options }).run(
    stop.signal,
  );
  log.info({ socket: path }, 'the Workload API listens');
  return {
    stop: async () => {
      link.stop();
      stop.abort();
      await api.close();
      await attesting;
      await parts.close();
    },
  };
}

/** The link of a session that keeps the trust bundle as it changes, and logs what the server thinks of this node. */
export function openLink(state: StateDir, backOff: BackOff, log: Logger): SessionLink {
  return new SessionLink({
    bundle: (bundle) => {
      state
        .saveBundle(bundle)
        .catch((error: unknown) => log.error({ err: error }, 'the trust bundle could not be kept'));
    },
    verdict: verdictLog(log, backOff),
  });
}

/** Says when the node becomes trusted, and when it is no more. */
function verdictLog(log: Logger, backOff: BackOff) {
  let trusted: boolean | undefined;
  return ({ host, verifiedEntries }: Parameters<ConstructorParameters<typeof SessionLink>[0]['verdict']>[0]): void => {
    if (host?.trusted === true) backOff.reset();
    if (host === undefined || host.trusted === trusted) return;
    trusted = host.trusted;
    const facts = { verifiedEntries: Number(verifiedEntries) };
    if (trusted) log.info(facts, 'the server trusts this node');
    else log.warn(facts, `the server does not trust this node${findingsText(host)}`);
  };
}
