import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { LacreError } from '../lacre-error.ts';
import { descriptorOf } from '../socket-descriptor.ts';
import type { AgentParts } from './agent.ts';
import { type Caller, identifyCaller, PinnedPeer, PinnedProcess } from './caller.ts';
import type { AgentConfig } from './config.ts';
import { ContainerWatch } from './container-watch.ts';
import { openEngines } from './engine/engines.ts';
import type { NodeContainers } from './evidence.ts';
import type { AttestationTpm } from './evidence-tpm.ts';
import type { Native } from './native.ts';
import { Proc } from './proc.ts';
import { type CertificateSource, endorsementCertificate } from './tpm-certificate.ts';
import { TpmClient } from './tpm-client.ts';
import type { PinnedCaller } from './workload-connection.ts';
import type { CallerRecord } from './workload-stream.ts';

/** A process that was named by its pid, held by a pidfd. */
export interface WorkloadProcess extends Omit<PinnedCaller, 'uid'> {
  /** Throws agent.caller.ended once it has ended. */
  requireAlive(): void;
}

/** The parts as they stand on a real node. */
export interface NodeParts extends AgentParts {
  /** Codes: agent.caller.ended, agent.caller.unreadable. */
  pinPid(pid: number): WorkloadProcess;
  /** Pid of a running container's first process, as last seen. */
  initPidOf(containerId: string): number | undefined;
}

/** Begins to watch the containers. The TPM is opened when it is first used: one that is not there yet is waited for. */
export async function openParts(config: AgentConfig, native: Native, log: Logger): Promise<NodeParts> {
  const tpm = openWhenUsed(() => TpmClient.open(config.tpm, config.tpmOptions), config.endorsementCertificate);
  const proc = new Proc();
  const watch = new ContainerWatch({
    source: openEngines(config.engine),
    proc,
    native,
    onFault: (fault) => {
      if (fault === undefined) log.info('containers can be looked at again');
      else log.warn({ code: fault.code, ...fault.details }, fault.message);
    },
  });
  await watch.start();
  return {
    tpm,
    containers: containersOf(watch),
    pinCaller: (socket) => pinCaller(socket, native, proc, watch),
    pinPid: (pid) => pinned(PinnedProcess.ofPid(pid, native), proc, watch),
    initPidOf: (containerId) => watch.containers.get(containerId)?.initPid,
    close: async () => {
      await watch.stop();
      await tpm.close();
    },
  };
}

/** Codes of each method: also those of `open`. */
export function openWhenUsed(open: () => Promise<TpmClient>, source: CertificateSource = {}): AttestationTpm {
  let opened: Promise<TpmClient> | undefined;
  const client = (): Promise<TpmClient> => {
    opened ??= open().catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    createEndorsementKey: async () => {
      const made = await (await client()).createEndorsementKey();
      return { ...made, certificate: await endorsementCertificate(source, made.public, made.certificate) };
    },
    readIntermediates: async () => (await client()).readIntermediates(),
    createAttestationKey: async (saved) => (await client()).createAttestationKey(saved),
    activateCredential: async (blob, secret) => (await client()).activateCredential(blob, secret),
    quote: async (extraData) => (await client()).quote(extraData),
    close: async () => (await opened)?.close(),
  };
}

function containersOf(watch: ContainerWatch): NodeContainers {
  return {
    seen: () => watch.containers,
    version: () => watch.version,
    // A fault is told by the watch's own looks.
    look: () => watch.look().catch(() => undefined),
  };
}

/** The pin is made when the connection is accepted, and lives as long as it does. */
function pinCaller(socket: Socket, native: Native, proc: Proc, watch: ContainerWatch): PinnedCaller {
  const fd = descriptorOf(socket);
  if (fd < 0) throw new LacreError('agent.caller.ended', 'the process that asked has closed its connection');
  const peer = PinnedPeer.open(fd, native);
  return { ...pinned(peer, proc, watch), uid: peer.uid };
}

function pinned(peer: PinnedProcess, proc: Proc, watch: ContainerWatch): WorkloadProcess {
  const sources = { proc, refresh: watch.refresh.bind(watch) };
  return {
    record: () => {
      const caller = identifyCaller(peer, sources);
      return caller instanceof Promise ? caller.then(recordOf) : recordOf(caller);
    },
    requireAlive: () => peer.requireAlive(),
    close: () => peer.close(),
  };
}

function recordOf({ bytes, container }: Caller): CallerRecord {
  return { bytes, containerId: container.id, containerSha256Hex: container.sha256Hex };
}
