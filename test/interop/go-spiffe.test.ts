import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { buildNative } from '../../scripts/build-native.ts';
import { loadNative } from '../../src/agent/native.ts';
import { AgentHarness } from '../agent/agent-harness.ts';
import { TestServer, TRUST_DOMAIN } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { interopProgram } from './interop-program.ts';

const COUNT = 150;
const FIRST_UID = 20_000;

interface Summary {
  readonly got: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly spiffeIds: Readonly<Record<string, number>>;
}

const program = interopProgram('firstsvid');
const skip =
  'absent' in program
    ? program.absent
    : process.getuid?.() !== 0
      ? 'clients of many users need root'
      : skipWithoutSoftwareTpm();

describe('the unmodified go-spiffe library', { skip }, () => {
  let server: TestServer;
  let harness: AgentHarness;
  const ids: string[] = [];

  before(async () => {
    buildNative();
    const native = loadNative();
    harness = await AgentHarness.create();
    server = await TestServer.start(harness.node.tpm.rootPath);
    await server.approve();
    await server.admin.addNode({ ekSha256: harness.node.ekSha256Hex, name: 'node-1', host: 'test-host' });
    await server.createEntry('/orders', harness.node.spiffeId, ['lacre:image-name:registry.test/app:1']);
    for (let number = 1; number <= COUNT; number += 1) ids.push(await harness.run(number));
    // What podman and cgroups tell of real containers, the caller's user tells here.
    harness.callerOf = (socket: Socket) => {
      const { fd } = (socket as Socket & { readonly _handle: { readonly fd: number } })._handle;
      return ids[native.peerCredentials(fd).uid - FIRST_UID] ?? '';
    };
    await harness.start({ port: server.port, bundle: await server.bundle() });
    await harness.untilLogged('the server trusts this node');
  });
  after(async () => {
    await harness?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function firstSvids(count: number, uid: number): Promise<Summary> {
    assert.ok('path' in program);
    const flags = ['-socket', `unix://${harness.socket}`, '-n', String(count), '-uid', String(uid), '-timeout', '20s'];
    const { stdout } = await promisify(execFile)(program.path, flags).catch((error: { stdout: string }) => error);
    return JSON.parse(stdout) as Summary;
  }

  test(`${COUNT} workloads at once get their identities`, async () => {
    const summary = await firstSvids(COUNT, FIRST_UID);
    assert.deepEqual(summary.errors, {});
    assert.equal(summary.got, COUNT);
    assert.deepEqual(summary.spiffeIds, { [`spiffe://${TRUST_DOMAIN}/orders`]: COUNT });
  });

  test('a process in no container is refused, with the reason', async () => {
    const { got, errors } = await firstSvids(1, FIRST_UID + COUNT + 1);
    assert.equal(got, 0);
    assert.match(Object.keys(errors).join(), /PermissionDenied/);
  });
});
