import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { type RunningAgent, startAgent } from '../../src/agent/agent.ts';
import type { AgentConfig } from '../../src/agent/config.ts';
import type { AttestationTpm } from '../../src/agent/evidence-tpm.ts';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import type { PinnedCaller } from '../../src/agent/workload-connection.ts';
import { toHex } from '../../src/bytes/hex.ts';
import { decodeContainer, encodeContainer, encodeRecord, makeRecord } from '../../src/container/record.ts';
import { LacreError } from '../../src/lacre-error.ts';
import type { Container } from '../../src/proto/lacre/v1/record_pb.ts';
import { containerOf, IMAGE_FILES, ScriptedNode, TRUST_DOMAIN, uidOf } from '../simulator/scripted-node.ts';
import { WorkloadClient } from './workload-client.ts';

/** The agent as it is, on a real TPM and a real server; what podman and the kernel would say of containers is given. */
export class AgentHarness implements AsyncDisposable {
  readonly directory: string;
  readonly node: ScriptedNode;
  readonly log: { readonly level: number; readonly msg: string; readonly code?: string }[] = [];
  readonly containers = new Map<
    string,
    {
      readonly container: Container;
      readonly bytes: Uint8Array;
      readonly sha256: Uint8Array;
      readonly sha256Hex: string;
    }
  >();
  /** Whose a connection is; by default those of `fetch`, in their order. */
  callerOf: (socket: Socket) => string = () => this.#callers.shift() ?? '';
  /** Quotes that the agent began. */
  quotesBegun = 0;
  readonly #callers: string[] = [];
  #agent: RunningAgent | undefined;

  private constructor(directory: string, node: ScriptedNode) {
    this.directory = directory;
    this.node = node;
  }

  static async create(): Promise<AgentHarness> {
    const directory = await mkdtemp(join(tmpdir(), 'lacre-agent-'));
    // The Workload API's socket lies below it.
    await chmod(directory, 0o755);
    return new AgentHarness(directory, await ScriptedNode.boot());
  }

  get socket(): string {
    return join(this.directory, 'run/workload.sock');
  }

  /** A container comes up, and executes the files of its image. */
  async run(number: number, change: Partial<Container> = {}): Promise<string> {
    const container = containerOf(number, change);
    const bytes = encodeContainer(container);
    const { sha256 } = decodeContainer(bytes);
    this.containers.set(container.id, { container, bytes, sha256, sha256Hex: toHex(sha256) });
    for (const { path, sha256 } of IMAGE_FILES)
      await this.node.kernel.measureContainer({ path, sha256 }, { uid: uidOf(number) });
    return container.id;
  }

  async start(
    server: { readonly port: number; readonly bundle: readonly Uint8Array[] },
    options: Parameters<typeof startAgent>[3] = {},
  ): Promise<void> {
    const config: AgentConfig = {
      trustDomain: TRUST_DOMAIN,
      server: { host: '127.0.0.1', port: server.port },
      bundle: server.bundle,
      dataDir: join(this.directory, 'data'),
      workloadSocket: this.socket,
      tpm: this.node.proxy.address,
      endorsementIntermediates: await this.node.tpm.intermediates(),
      measurementList: this.node.kernel.listPath,
      eventLog: this.node.kernel.eventLogPath,
      engine: { podman: { storage: '', run: '' } },
      log: { level: 'info', format: 'json' },
    };
    const tpm = await TpmClient.open(config.tpm);
    const counted: AttestationTpm = {
      createEndorsementKey: () => tpm.createEndorsementKey(),
      readIntermediates: () => tpm.readIntermediates(),
      createAttestationKey: (saved) => tpm.createAttestationKey(saved),
      activateCredential: (blob, secret) => tpm.activateCredential(blob, secret),
      quote: (extraData) => {
        this.quotesBegun += 1;
        return tpm.quote(extraData);
      },
      close: () => tpm.close(),
    };
    const write = (line: string) => {
      this.log.push(JSON.parse(line));
      if (process.env['LACRE_TEST_LOG'] !== undefined) process.stderr.write(line);
    };
    this.#agent = await startAgent(
      config,
      {
        tpm: counted,
        containers: { seen: () => this.containers, version: () => performance.now(), look: async () => undefined },
        pinCaller: (socket) => this.#pin(this.callerOf(socket)),
        close: () => tpm.close(),
      },
      pino({ level: 'debug', base: null }, { write }),
      options,
    );
  }

  /** Waits for a line of the agent's log. */
  async untilLogged(text: string | RegExp, timeoutMs = 15_000): Promise<void> {
    for (const started = Date.now(); !this.logged(text); await sleep(10)) {
      if (Date.now() - started < timeoutMs) continue;
      assert.fail(`"${text}" was not logged:\n${this.log.map(({ msg }) => msg).join('\n')}`);
    }
  }

  logged(text: string | RegExp): boolean {
    return this.log.some(({ msg }) => (typeof text === 'string' ? msg.includes(text) : text.test(msg)));
  }

  fetch(containerId: string): WorkloadClient {
    this.#callers.push(containerId);
    return new WorkloadClient(this.socket);
  }

  async stop(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.node[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  #pin(containerId: string): PinnedCaller {
    return {
      uid: this.containers.get(containerId)?.container.uidMap[0]?.outside ?? 0,
      record: async () => {
        const seen = this.containers.get(containerId);
        if (seen === undefined)
          throw new LacreError('agent.caller.not-in-container', 'the process runs in no container');
        const uid = seen.container.uidMap[0]?.outside ?? 0;
        const record = makeRecord({
          containerSha256: seen.sha256,
          containerId,
          uid,
          gid: uid,
          executable: '/bin/app',
          isInitFamily: true,
        });
        return { bytes: encodeRecord(record), containerId, containerSha256Hex: seen.sha256Hex };
      },
      close: () => undefined,
    };
  }
}
