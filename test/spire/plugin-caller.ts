import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import { WorkloadAttestor } from '../../src/proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';
import { Config } from '../../src/proto/spire/service/common/config/v1/config_pb.ts';
import { UnixClient } from '../../src/unix-client.ts';
import { codeOf } from '../simulator/scripted-node.ts';
import type { HostProcess } from '../simulator/simulated-host.ts';
import type { SpireBed } from './spire-bed.ts';

let count = 0;

/**
 * Calls the plugin process that the real spire-agent started, on its own socket: what SPIRE is told, to the letter. From
 * a process of the node, as SPIRE is one: of others the plugin can't tell who they are, and takes no call.
 */
export class PluginCaller implements Disposable {
  readonly #client: UnixClient;
  readonly #relay: HostProcess;

  private constructor(client: UnixClient, relay: HostProcess) {
    this.#client = client;
    this.#relay = relay;
  }

  static async of(bed: SpireBed): Promise<PluginCaller> {
    const { directory, image, programs } = bed.node;
    count += 1;
    const path = join(directory, `plugin-${count}.sock`);
    const relay = await bed.node.spawnOnHost(image.program, [path, await bed.pluginSocket()]);
    await programs.appears(path, relay.ended);
    await answers(path);
    return new PluginCaller(new UnixClient(path), relay);
  }

  /** @param pid as the node numbers its processes */
  async attest(pid: number): Promise<string[]> {
    return (await this.#client.service(WorkloadAttestor).attest({ pid })).selectorValues;
  }

  /** What SPIRE says when it configures a plugin. */
  async configure(trustDomain: string, hclConfiguration: string): Promise<void> {
    await this.#client.service(Config).configure({ coreConfiguration: { trustDomain }, hclConfiguration });
  }

  /** Empty: it isn't refused. */
  async codeOfRefusal(pid: number): Promise<string> {
    return this.attest(pid).then(() => '', codeOf);
  }

  async refuses(pid: number, status: Code, sentence: RegExp, code: string): Promise<void> {
    await assert.rejects(this.attest(pid), (error) => {
      assert.ok(error instanceof ConnectError, String(error));
      assert.equal(Code[error.code], Code[status], error.message);
      assert.match(error.rawMessage, sentence);
      assert.equal(codeOf(error), code);
      return true;
    });
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
    process.kill(this.#relay.pid, 'SIGKILL');
  }
}

/** A socket's file is there before anybody listens on it. */
async function answers(path: string): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const socket = connect(path);
    const connected = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (connected) return;
    await delay(10);
  }
  throw new Error(`nobody listens on ${path}`);
}

/** A process's pid as its own namespace numbers it. */
export async function innerPid(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^NSpid:.*\s(\d+)$/m.exec(status)?.[1]);
}
