import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { buildNative } from '../../scripts/build-native.ts';
import { loadNative } from '../../src/agent/native.ts';
import { SpireChallengeSchema, type SpireSteps, SpireStepsSchema } from '../../src/proto/lacre/v1/spire_pb.ts';
import { NodeAttestor as AgentService } from '../../src/proto/spire/plugin/agent/nodeattestor/v1/nodeattestor_pb.ts';
import {
  type AgentAttributes,
  NodeAttestor as ServerService,
} from '../../src/proto/spire/plugin/server/nodeattestor/v1/nodeattestor_pb.ts';
import { createAgentHalf } from '../../src/spire/node-attestor-agent.ts';
import { createServerHalf } from '../../src/spire/node-attestor-server.ts';
import { openPluginLog } from '../../src/spire/plugin-log.ts';
import type { Plugin } from '../../src/spire/plugin-runtime.ts';
import { evmSigEntry } from '../simulator/list-entry.ts';
import { codeOf, digestOf, ScriptedNode, TestServer, TRUST_DOMAIN } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';
import { MessageChannel } from './message-channel.ts';

const ENTRIES = 100_000;

/** What SPIRE passes between the halves, and where it may be spoilt. */
interface Spoil {
  readonly payload?: (bytes: Uint8Array) => Uint8Array;
  readonly challenge?: (bytes: Uint8Array, count: number) => Uint8Array;
  readonly response?: (bytes: Uint8Array, count: number) => Uint8Array | Promise<Uint8Array>;
  readonly seen?: { readonly payloads: Uint8Array[]; readonly responses: Uint8Array[] };
}

const clientsOf = (agent: Plugin, server: Plugin) => ({
  agent: createClient(AgentService, createRouterTransport(agent.routes)),
  server: createClient(ServerService, createRouterTransport(server.routes)),
});

/** SPIRE's part: strictly one message each way, none of 4 MiB. */
async function attest(agentHalf: Plugin, serverHalf: Plugin, spoil: Spoil = {}): Promise<AgentAttributes> {
  const { agent, server } = clientsOf(agentHalf, serverHalf);
  const challenges = new MessageChannel<{ challenge: Uint8Array }>();
  const requests = new MessageChannel<{ request: { case: 'payload' | 'challengeResponse'; value: Uint8Array } }>();
  const ended = new AbortController();
  let failed = false;
  const { signal } = ended;
  const fromAgent = agent.aidAttestation(challenges, { signal })[Symbol.asyncIterator]();
  const fromServer = server.attest(requests, { signal })[Symbol.asyncIterator]();
  try {
    const first = (await fromAgent.next()).value?.data;
    assert.equal(first?.case, 'payload');
    const payload = spoil.payload?.(first.value) ?? first.value;
    spoil.seen?.payloads.push(payload);
    requests.push({ request: { case: 'payload', value: payload } });
    for (let count = 1; ; count += 1) {
      const answer = (await fromServer.next()).value?.response;
      if (answer?.case === 'agentAttributes') {
        challenges.end();
        assert.equal((await fromAgent.next()).done, true);
        return answer.value;
      }
      assert.equal(answer?.case, 'challenge');
      challenges.push({ challenge: spoil.challenge?.(answer.value, count) ?? answer.value });
      const next = (await fromAgent.next()).value?.data;
      assert.equal(next?.case, 'challengeResponse');
      const response = (await spoil.response?.(next.value, count)) ?? next.value;
      assert.ok(response.length < 4 * 1024 * 1024 - 64 * 1024, `${response.length} bytes`);
      spoil.seen?.responses.push(response);
      requests.push({ request: { case: 'challengeResponse', value: response } });
    }
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    challenges.end();
    requests.end();
    if (failed) {
      for (const stream of [fromAgent, fromServer]) stream.next().catch(() => undefined);
      ended.abort();
    }
    // The TPM of the tests has room for one client's keys.
    await delay(20);
  }
}

describe('node attestation through SPIRE, with everything real but SPIRE', {
  skip: skipWithoutSoftwareTpm(),
  concurrency: false,
}, () => {
  let node: ScriptedNode;
  let server: TestServer;
  let serverHalf: Plugin;
  const log: string[] = [];
  buildNative();
  const deps = { native: loadNative(), log: openPluginLog((line) => log.push(line)) };

  before(async () => {
    node = await machine();
    server = await TestServer.start(node.tpm.rootPath);
    await server.approve();
    await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
    serverHalf = await halfOf(
      `verifier_socket = "${server.directory}/verifier/verifier.sock"\non_host_failure = "none"`,
    );
  });

  after(async () => {
    await serverHalf?.stop();
    await server?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
  });

  async function halfOf(text: string, trustDomain = TRUST_DOMAIN): Promise<Plugin> {
    const half = createServerHalf(deps);
    await half.configure(trustDomain, text);
    return half;
  }

  async function agentHalf(
    of: ScriptedNode = node,
    trustDomain = TRUST_DOMAIN,
    tpm = of.proxy.address,
  ): Promise<Plugin> {
    const half = createAgentHalf(deps);
    await configure(half, of, trustDomain, tpm);
    return half;
  }

  function configure(
    half: Plugin,
    of: ScriptedNode = node,
    trustDomain = TRUST_DOMAIN,
    tpm = of.proxy.address,
  ): Promise<void> {
    const data = {
      data_dir: join(of.directory, 'spire-node'),
      tpm,
      endorsement_intermediates: of.tpm.issuerPath,
      measurement_list: of.kernel.listPath,
      event_log: of.kernel.eventLogPath,
    };
    return half.configure(trustDomain, JSON.stringify(data));
  }

  test('the first evidence is the whole list, the next only what it grew by', async () => {
    const half = await agentHalf();
    const seen = { payloads: [], responses: [] as Uint8Array[] };
    const { spiffeId, selectorValues, canReattest } = await attest(half, serverHalf, { seen });
    assert.equal(spiffeId, node.spiffeId);
    assert.equal(canReattest, true);
    for (const value of ['root:software', 'node:node-1', `ek:sha256:${node.ekSha256Hex}`])
      assert.ok(selectorValues.includes(value), value);
    await node.kernel.measureHost({ path: '/usr/bin/crun', sha256: digestOf('host /usr/bin/crun') });
    await attest(half, serverHalf, { seen });
    const [whole, delta] = seen.responses.map((bytes) => listBytes(stepsOf(bytes)));
    assert.ok(whole !== undefined && delta !== undefined && delta > 0 && delta < whole, `${whole} ${delta}`);
    await attest(await agentHalf(), serverHalf, { seen });
    assert.equal(
      listBytes(stepsOf(seen.responses[2] ?? new Uint8Array())),
      whole + delta,
      'a plugin that knows nothing sends all',
    );
  });

  test('what was verified belongs to one configuration: another one begins with the whole list', async () => {
    const half = await agentHalf();
    const seen = { payloads: [], responses: [] as Uint8Array[] };
    await attest(half, serverHalf, { seen });
    await configure(half);
    await attest(half, serverHalf, { seen });
    // Given anew while an attestation is under way: that one goes on as it began, and says nothing of the next.
    const anew = async (bytes: Uint8Array) => {
      await configure(half);
      return bytes;
    };
    await attest(half, serverHalf, { seen, response: anew });
    await attest(half, serverHalf, { seen });
    await attest(half, serverHalf, { seen });
    const lengths = seen.responses.map((bytes) => listBytes(stepsOf(bytes)));
    const [whole = 0] = lengths;
    assert.ok(whole > 0);
    assert.deepEqual(lengths, [whole, whole, 0, whole, 0]);
  });

  test('a reboot: the whole list, and no evidence of the boot before', async () => {
    const half = await agentHalf();
    await attest(half, serverHalf);
    const cut = await agentHalf();
    const drop = (bytes: Uint8Array) =>
      encode({ ...stepsOf(bytes), steps: stepsOf(bytes).steps.filter(({ step }) => step.case !== 'eventLog') });
    // Without an event log the list counts as going on from what is known: it doesn't.
    await refusedWith(attest(cut, serverHalf, { response: drop }), undefined, /boot_aggregate|explain/);
    await attest(half, serverHalf);
  });

  test('a replayed payload with its responses is refused', async () => {
    const seen = { payloads: [] as Uint8Array[], responses: [] as Uint8Array[] };
    await attest(await agentHalf(), serverHalf, { seen });
    const [payload, ...rest] = [...seen.payloads, ...seen.responses];
    assert.ok(payload);
    const replay = attest(await agentHalf(), serverHalf, {
      payload: () => payload,
      response: (_bytes, count) => rest[count - 1] ?? new Uint8Array(),
    });
    await refusedWith(replay, Code.PermissionDenied, /another nonce/);
  });

  test('plugins of two trust domains', async () => {
    await refusedWith(
      attest(await agentHalf(node, 'other.test'), serverHalf),
      Code.PermissionDenied,
      /other\.test/,
      'spire.node.trust-domain',
    );
    const other = await halfOf(
      `verifier_socket = "${server.directory}/verifier/verifier.sock"\non_host_failure = "none"`,
      'other.test',
    );
    await refusedWith(attest(await agentHalf(node, 'other.test'), other), Code.PermissionDenied, /another nonce/);
    await other.stop();
  });

  test('malformed payloads, challenges and responses end the attestation with a status', async () => {
    const junk = new Uint8Array([0xff, 0xff, 0xff]);
    const malformed: readonly [Spoil, RegExp, string?][] = [
      [{ payload: () => junk }, /payload is none/, 'spire.node.protocol'],
      [{ payload: () => encode({ trustDomain: TRUST_DOMAIN }) }, /1 to 64 steps/],
      [
        { payload: (bytes) => encode({ ...stepsOf(bytes), steps: Array(65).fill(stepsOf(bytes).steps[0]) }) },
        /1 to 64 steps/,
      ],
      [{ challenge: () => junk }, /challenge is none/],
      [{ challenge: () => challengeBytes({ case: 'more', value: {} }) }, /out of order/],
      [{ challenge: () => challengeBytes({ case: 'challenge', value: {} }) }, /out of order/],
      [{ challenge: () => challengeBytes({ case: 'challenge', value: { challenge: { nonce: junk } } }) }, /32 bytes/],
      [{ response: () => junk }, /payload is none/],
      [{ response: (bytes) => encode({ steps: stepsOf(bytes).steps.toReversed() }) }, /./],
    ];
    for (const [spoil, message, code] of malformed) {
      await refusedWith(attest(await agentHalf(), serverHalf, spoil), undefined, message, code);
    }
    const { spiffeId } = await attest(await agentHalf(), serverHalf);
    assert.equal(spiffeId, node.spiffeId, 'both halves serve on');
  });

  test('another machine: an AK of its TPM, its answer to an activation, its EK', async () => {
    await using stranger = await machine();
    await refusedWith(attest(await agentHalf(stranger), serverHalf), undefined, /no node with EK|endorsement|root/);
    const theirs = stepsOf((await firstPayload(await agentHalf(stranger))).value).steps[0]?.step;
    assert.equal(theirs?.case, 'hello');
    const swapAk = (bytes: Uint8Array) => {
      const steps = stepsOf(bytes);
      const [hello] = steps.steps;
      if (hello?.step.case === 'hello') hello.step.value.akPublic = theirs.value.akPublic;
      return encode(steps);
    };
    // The TPM activates only for a key that it holds.
    await refusedWith(
      attest(await agentHalf(), serverHalf, { payload: swapAk }),
      undefined,
      /^TPM2_ActivateCredential failed in the TPM with code 0x1df$/,
    );
    // The EK of the inventory, with all else of the stranger, who then can't tell the secret.
    const [ours] = stepsOf((await firstPayload(await agentHalf())).value).steps;
    assert.equal(ours?.step.case, 'hello');
    const { ekPublic, ekCertificate, ekIntermediates } = ours.step.value;
    const pose = (bytes: Uint8Array) => {
      const steps = stepsOf(bytes);
      const [hello] = steps.steps;
      if (hello?.step.case === 'hello') Object.assign(hello.step.value, { ekPublic, ekCertificate, ekIntermediates });
      return encode(steps);
    };
    await refusedWith(
      attest(await agentHalf(stranger), serverHalf, { payload: pose }),
      undefined,
      /^TPM2_ActivateCredential failed in the TPM with code 0x/,
    );
  });

  test('a list of 100,000 entries goes through in messages that SPIRE takes', { timeout: 300_000 }, async () => {
    const file = { path: '/mnt/tool', sha256: digestOf('somewhere') };
    // Of owners below the pool: whoever made them, it isn't the host.
    await node.kernel.appendAll(
      Array.from({ length: ENTRIES }, (_, index) => evmSigEntry(10, file, { uid: 1_000 + index })),
    );
    const seen = { payloads: [], responses: [] as Uint8Array[] };
    const started = process.cpuUsage();
    const { spiffeId } = await attest(await agentHalf(), serverHalf, { seen });
    const { user, system } = process.cpuUsage(started);
    assert.equal(spiffeId, node.spiffeId);
    const sent = seen.responses.reduce((sum, bytes) => sum + listBytes(stepsOf(bytes)), 0);
    assert.equal(sent, (await readFile(node.kernel.listPath)).length, 'the whole list');
    // A message is full with 2 MiB; attest() holds each to what SPIRE takes.
    assert.equal(seen.responses.length, Math.ceil(sent / (2 * 1024 * 1024)));
    // Both halves and the Lacre server are this process: 2 s on a slow machine, and a quadratic path takes minutes.
    const cpuMs = (user + system) / 1000;
    assert.ok(cpuMs < 20_000, `${cpuMs} ms of CPU time`);
    console.log(`${ENTRIES} entries, ${sent} bytes: attested in ${Math.round(cpuMs)} ms of CPU time`);
  });

  test('without Lacre server or TPM the halves refuse, and recover', async () => {
    const nowhere = await halfOf('verifier_socket = "/nowhere/verifier.sock"\non_host_failure = "none"');
    await refusedWith(
      attest(await agentHalf(), nowhere),
      Code.Unavailable,
      /^the Lacre server does not answer: ENOENT$/,
    );
    await nowhere.stop();
    await refusedWith(
      attest(await agentHalf(node, TRUST_DOMAIN, 'unix:/nowhere/tpm.sock'), serverHalf),
      Code.Unavailable,
      /^the TPM at unix:\/nowhere\/tpm\.sock cannot be used: connect ENOENT \/nowhere\/tpm\.sock$/,
    );
    await server.restart();
    const { spiffeId } = await attest(await agentHalf(), serverHalf);
    assert.equal(spiffeId, node.spiffeId);
  });

  test('unconfigured, and configured wrongly', async () => {
    await refusedWith(
      attest(createAgentHalf(deps), serverHalf),
      Code.FailedPrecondition,
      /no configuration/,
      'spire.plugin.unconfigured',
    );
    assert.deepEqual(
      await serverHalf.validate(TRUST_DOMAIN, 'verifier_socket = 1\nx = 2').then((notes) => notes.length),
      2,
    );
    assert.deepEqual(await createAgentHalf(deps).validate(TRUST_DOMAIN, ''), []);
    await assert.rejects(createAgentHalf(deps).configure(TRUST_DOMAIN, 'tpm = "x"'), { code: 'spire.config.invalid' });
  });

  test('an end without an answer is told as one', async () => {
    const { agent } = clientsOf(await agentHalf(), serverHalf);
    const challenges = new MessageChannel<{ challenge: Uint8Array }>();
    const fromAgent = agent.aidAttestation(challenges)[Symbol.asyncIterator]();
    await fromAgent.next();
    challenges.end();
    await refusedWith(fromAgent.next(), Code.PermissionDenied, /its log says why/, 'spire.node.refused');
  });

  test('a host that is refused: the sentence says why', async () => {
    await node.kernel.measureHost({ path: '/usr/bin/evil', sha256: digestOf('evil') });
    await refusedWith(attest(await agentHalf(), serverHalf), Code.PermissionDenied, /\/usr\/bin\/evil/);
  });
});

/** Its TPM has room for three objects, and no resource manager in front. */
async function machine(): Promise<ScriptedNode> {
  const node = await ScriptedNode.boot();
  await node.client.close();
  return node;
}

async function firstPayload(half: Plugin): Promise<{ readonly value: Uint8Array }> {
  const challenges = new MessageChannel<{ challenge: Uint8Array }>();
  const agent = createClient(AgentService, createRouterTransport(half.routes));
  const first = (await agent.aidAttestation(challenges)[Symbol.asyncIterator]().next()).value?.data;
  challenges.end();
  assert.equal(first?.case, 'payload');
  return first;
}

async function refusedWith(
  work: Promise<unknown>,
  code: Code | undefined,
  message: RegExp,
  lacreCode?: string,
): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof ConnectError, String(error));
    if (code !== undefined) assert.equal(Code[error.code], Code[code], error.message);
    assert.match(error.rawMessage, message);
    if (lacreCode !== undefined) assert.equal(codeOf(error), lacreCode);
    assert.notEqual(error.code, Code.Internal, error.message);
    return true;
  });
}

const stepsOf = (bytes: Uint8Array): SpireSteps => fromBinary(SpireStepsSchema, bytes);
const encode = (steps: MessageInitShape<typeof SpireStepsSchema>): Uint8Array =>
  toBinary(SpireStepsSchema, create(SpireStepsSchema, steps));
const challengeBytes = (step: Exclude<MessageInitShape<typeof SpireChallengeSchema>['step'], undefined>): Uint8Array =>
  toBinary(SpireChallengeSchema, create(SpireChallengeSchema, { step }));
const listBytes = ({ steps }: SpireSteps): number =>
  steps.reduce((sum, { step }) => sum + (step.case === 'list' ? step.value.length : 0), 0);
