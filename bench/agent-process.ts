/**
 * The agent as a process of its own, for bench/first-svid.ts: real in everything but the containers. Container number n is
 * whoever has uid FIRST_UID + n - 1; what podman would tell of it is made up.
 */
import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { startAgent } from '../src/agent/agent.ts';
import { type AgentConfig, pemCertificates } from '../src/agent/config.ts';
import { loadNative } from '../src/agent/native.ts';
import { TpmClient } from '../src/agent/tpm-client.ts';
import { toHex } from '../src/bytes/hex.ts';
import { decodeContainer, encodeContainer, encodeRecord, makeRecord } from '../src/container/record.ts';
import { LacreError } from '../src/lacre-error.ts';
import { openLog } from '../src/log.ts';
import { containerOf, TRUST_DOMAIN } from '../test/simulator/scripted-node.ts';

/** User of the first workload; the next has the next. */
export const FIRST_UID = 20_000;

export interface BenchAgent {
  readonly directory: string;
  readonly port: number;
  /** PEM. */
  readonly bundle: string;
  readonly tpm: string;
  readonly measurementList: string;
  readonly eventLog: string;
  readonly intermediates: readonly string[];
  readonly count: number;
}

async function run(options: BenchAgent): Promise<void> {
  for (const flag of ['--no-opt', '--no-maglev', '--no-sparkplug']) setFlagsFromString(flag);
  const config: AgentConfig = {
    trustDomain: TRUST_DOMAIN,
    server: { host: '127.0.0.1', port: options.port },
    bundle: pemCertificates('bundle', Buffer.from(options.bundle)),
    dataDir: `${options.directory}/data`,
    workloadSocket: `${options.directory}/workload.sock`,
    tpm: options.tpm,
    endorsementIntermediates: options.intermediates.map((text) => new Uint8Array(Buffer.from(text, 'base64'))),
    measurementList: options.measurementList,
    eventLog: options.eventLog,
    engine: { podman: { storage: '', run: '' } },
    log: { level: 'info', format: 'text' },
  };
  const native = loadNative();
  const seen = Array.from({ length: options.count }, (_, index) => {
    const container = containerOf(index + 1);
    const bytes = encodeContainer(container);
    return { id: container.id, bytes, sha256: decodeContainer(bytes).sha256 };
  });
  const byId = new Map(seen.map((container) => [container.id, container]));
  let turn = 0;
  const tpm = await TpmClient.open(options.tpm);
  const parts = {
    tpm,
    containers: { seen: () => byId, look: async () => undefined },
    pinCaller: (socket: Socket) => {
      const { uid, gid } = native.peerCredentials(
        (socket as Socket & { readonly _handle: { readonly fd: number } })._handle.fd,
      );
      // A light client is one process, of one user: its connections are those of one container after another.
      const container = uid < FIRST_UID ? seen[turn++ % seen.length] : seen[uid - FIRST_UID];
      const record = async () => {
        if (container === undefined)
          throw new LacreError('agent.caller.not-in-container', 'the process runs in no container');
        const { id: containerId, sha256: containerSha256 } = container;
        const facts = { containerSha256, containerId, uid, gid, executable: '/bin/app', isInitFamily: true };
        return { bytes: encodeRecord(makeRecord(facts)), containerId, containerSha256Hex: toHex(containerSha256) };
      };
      return { uid, record, close: () => undefined };
    },
    close: () => tpm.close(),
  };
  const agent = await startAgent(config, parts, openLog(config.log));
  process.once('SIGTERM', () => void agent.stop());
}

const [, , options] = process.argv;
if (import.meta.main && options !== undefined) await run(JSON.parse(options) as BenchAgent);
