import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { ConnectRouter } from '@connectrpc/connect';
import type { Logger } from 'pino';
import { openLink } from '../agent/agent.ts';
import { Attestation } from '../agent/agent-attestation.ts';
import { type NodeParts, openParts } from '../agent/agent-parts.ts';
import { BackOff } from '../agent/back-off.ts';
import type { Native } from '../agent/native.ts';
import { StateDir } from '../agent/state-dir.ts';
import { LacreError } from '../lacre-error.ts';
import {
  AttestRequestSchema,
  AttestResponseSchema,
  WorkloadAttestor as Service,
} from '../proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';
import { stopContainer } from './container-stop.ts';
import { DriftWatch } from './drift-watch.ts';
import { checkPluginConfig, readPluginConfig } from './plugin-config.ts';
import { type Plugin, unimplemented } from './plugin-runtime.ts';
import { WorkloadAnswer } from './workload-answer.ts';
import { loadWorkloadConfig, type WorkloadConfig, WorkloadConfigSchema } from './workload-config.ts';
import { judgePid } from './workload-verdict.ts';

/** The node's session with the Lacre server, as one configuration has it. */
interface Running {
  attest(pid: number): Promise<string[]>;
  stop(): Promise<void>;
}

export interface WorkloadAttestorDeps {
  readonly native: Native;
  readonly log: Logger;
  /** The node's TPM and containers; by default the real ones. */
  readonly openNode?: (config: WorkloadConfig) => Promise<NodeParts>;
}

/**
 * WorkloadAttestor "lacre": the node's session to the Lacre server, and verdicts in place of identities. It has no
 * selectors for a workload that the server doesn't trust on evidence that is fresh.
 */
export function createWorkloadAttestor(deps: WorkloadAttestorDeps): Plugin {
  let running: Running | undefined;
  const attest = async (pid: number): Promise<string[]> => {
    if (running === undefined) {
      throw new LacreError('spire.plugin.unconfigured', 'the plugin has no configuration, so it has no verdicts');
    }
    return running.attest(pid);
  };
  return {
    type: 'WorkloadAttestor',
    service: Service,
    routes: (router: ConnectRouter) =>
      router.service(Service, {
        attestReference: () => unimplemented('this plugin attests workloads by their pid'),
      }),
    plain: {
      path: `/${Service.typeName}/${Service.method.attest.name}`,
      answer: async (request) => {
        const selectors = await attest(pidOf(request));
        return toBinary(AttestResponseSchema, create(AttestResponseSchema, { selectorValues: selectors }));
      },
    },
    configure: async (trustDomain, text) => {
      const config = await loadWorkloadConfig(trustDomain, readPluginConfig({ schema: WorkloadConfigSchema, text }));
      const former = running;
      running = undefined;
      await former?.stop();
      running = await start(config, deps);
    },
    validate: async (_trustDomain, text) => checkPluginConfig({ schema: WorkloadConfigSchema, text }).faults,
    stop: async () => {
      await running?.stop();
      running = undefined;
    },
  };
}

function pidOf(request: Uint8Array): number {
  try {
    return fromBinary(AttestRequestSchema, request).pid;
  } catch (cause) {
    throw new LacreError('spire.workload.pid', "SPIRE's request is no message that names a pid", {}, { cause });
  }
}

/** Begins to attest the node; verdicts can be had once the server trusts it. Codes: agent.state.invalid. */
async function start(config: WorkloadConfig, { native, log, openNode }: WorkloadAttestorDeps): Promise<Running> {
  const state = await StateDir.open(config.agent.dataDir, config.agent.bundle);
  const parts = await (openNode ?? (({ agent }) => openParts(agent, native, log)))(config);
  const backOff = new BackOff();
  const link = openLink(state, backOff, log);
  const stop = new AbortController();
  const { tpm, containers } = parts;
  const attesting = new Attestation({ config: config.agent, tpm, state, containers, link, backOff, log }).run(
    stop.signal,
  );
  const judging = { link, parts, maxEvidenceAgeMs: config.maxEvidenceAgeMs, log };
  const socket = config.agent.engine.podman?.socket;
  const drift = new DriftWatch({
    link,
    log,
    running: () => containers.seen().keys(),
    judge: async (containerId) => {
      const pid = parts.initPidOf(containerId);
      return pid === undefined ? undefined : judgePid(judging, pid);
    },
    stop: config.onDrift === 'none' ? undefined : (id) => stopContainer({ socket, podman: config.podman }, id),
  });
  const answer = new WorkloadAnswer({ judging, drift, require: config.require, log });
  return {
    attest: (pid) => answer.of(pid),
    stop: async () => {
      drift.close();
      link.stop();
      stop.abort();
      await attesting;
      await parts.close();
    },
  };
}
