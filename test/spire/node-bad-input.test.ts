import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { TpmClient } from '../../src/agent/tpm-client.ts';
import { type EnrolChallenge, EnrolRequestSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import { SpireChallengeSchema, type SpireSteps, SpireStepsSchema } from '../../src/proto/lacre/v1/spire_pb.ts';
import { NodeAttestor } from '../../src/proto/spire/plugin/agent/nodeattestor/v1/nodeattestor_pb.ts';
import { createAgentHalf } from '../../src/spire/node-attestor-agent.ts';
import { openPluginLog } from '../../src/spire/plugin-log.ts';
import { objectName, parsePublicArea } from '../../src/tpm/public-area.ts';
import { enrolmentExtraData, spireExporter } from '../../src/tpm/qualifying-data.ts';
import { TRUST_DOMAIN } from '../simulator/native-node.ts';
import { ScriptedNode } from '../simulator/scripted-node.ts';
import { type Answer, AttestAgentCall } from './attest-agent.ts';
import { MessageChannel } from './message-channel.ts';
import { SpireBed, spireBedMissing } from './spire-bed.ts';

const skip = spireBedMissing();
const [INVALID_ARGUMENT, PERMISSION_DENIED, RESOURCE_EXHAUSTED, INTERNAL] = ['3', '7', '8', '13'];

describe('node attestation by a liar, at a real spire-server with the plugin', { skip, concurrency: false }, () => {
  let bed: SpireBed;
  let stranger: ScriptedNode;
  let pluginPids: readonly number[] = [];

  before(async () => {
    bed = await SpireBed.create('node bad input');
    await bed.startServer({ nodePlugins: true, serverHalf: ['on_host_failure = "none"'] });
    stranger = await ScriptedNode.boot();
    pluginPids = await bed.serverPluginPids();
    assert.equal(pluginPids.length, 1);
  });

  after(async () => {
    await stranger?.[Symbol.asyncDispose]();
    await bed?.[Symbol.asyncDispose]();
  });

  /** The honest half on the honest machine, as the liar may run it for himself. */
  async function honest(folder = 'spire-node'): Promise<HonestHalf> {
    return HonestHalf.open(bed.nodeData(folder));
  }

  async function untilAttested(): Promise<{ readonly payload: Uint8Array; readonly responses: Uint8Array[] }> {
    await using half = await honest();
    await using call = await AttestAgentCall.open(bed.port);
    const payload = await half.next();
    const responses: Uint8Array[] = [];
    let answer = await call.begin(payload);
    while ('challenge' in answer) {
      responses.push(await half.next(answer.challenge));
      answer = await call.respond(responses.at(-1) ?? new Uint8Array());
    }
    assert.deepEqual(answer, { isAttested: true });
    return { payload, responses };
  }

  /** Refused with this status and sentence; then an honest node is attested by the same server and plugin process. */
  async function refused(answer: Answer, status: string, sentence: RegExp): Promise<void> {
    assert.ok('status' in answer, JSON.stringify(Object.keys(answer)));
    assert.equal(answer.status, status, answer.message);
    assert.match(answer.message, sentence);
    assert.equal((await bed.serverCommand('healthcheck')).status, 0);
    await untilAttested();
    assert.deepEqual(await bed.serverPluginPids(), pluginPids);
  }

  async function honestSteps(): Promise<SpireSteps> {
    await using half = await honest();
    return fromBinary(SpireStepsSchema, await half.next());
  }

  test('a payload that is none', async () => {
    await using call = await AttestAgentCall.open(bed.port);
    await refused(await call.begin(Uint8Array.of(0xff, 0xff, 0xff)), INVALID_ARGUMENT, /payload is none of plugin/);
  });

  test('a payload of 3 MiB of nothing', async () => {
    await using call = await AttestAgentCall.open(bed.port);
    await refused(await call.begin(new Uint8Array(3 << 20)), INVALID_ARGUMENT, /payload is longer than 262144/);
  });

  test('a response of a million empty steps', async () => {
    await using half = await honest();
    await using call = await AttestAgentCall.open(bed.port);
    assert.ok('challenge' in (await call.begin(await half.next())));
    const empty = new Uint8Array(Buffer.alloc(2 << 20, Buffer.from([0x0a, 0])));
    await refused(await call.respond(empty), INVALID_ARGUMENT, /1 to 64 steps/);
  });

  test('a response that is none', async () => {
    await using half = await honest();
    await using call = await AttestAgentCall.open(bed.port);
    assert.ok('challenge' in (await call.begin(await half.next())));
    await refused(await call.respond(Uint8Array.of(0xff)), INVALID_ARGUMENT, /payload is none of plugin/);
  });

  test('responses without end that bring nothing', async () => {
    await using half = await honest();
    await using call = await AttestAgentCall.open(bed.port);
    let answer = await call.begin(await half.next());
    const chunk = create(EnrolRequestSchema, { step: { case: 'eventLog', value: new Uint8Array(500_000) } });
    for (let count = 0; 'challenge' in answer && count < 100; count += 1)
      answer = await call.respond(encode({ steps: [chunk], more: true }));
    // Where the plugin's refusal comes while spire-server is handing on the next response, SPIRE tells its own fault instead.
    const overtaken = 'status' in answer && answer.status === INTERNAL;
    if (overtaken) await refused(answer, INTERNAL, /plugin closed stream unexpectedly/);
    else await refused(answer, RESOURCE_EXHAUSTED, /event log is over 1 MiB/);
  });

  test('a wrong trust domain', async () => {
    const steps = await honestSteps();
    await using call = await AttestAgentCall.open(bed.port);
    const answer = await call.begin(encode({ ...steps, trustDomain: 'other.test' }));
    await refused(answer, PERMISSION_DENIED, /"other\.test", and spire-server of lacre\.test/);
  });

  test('a payload replayed with its responses', async () => {
    const { payload, responses } = await untilAttested();
    await using call = await AttestAgentCall.open(bed.port);
    let answer = await call.begin(payload);
    for (const response of responses) if ('challenge' in answer) answer = await call.respond(response);
    await refused(answer, PERMISSION_DENIED, /another nonce/);
  });

  test('a machine of no inventory', async () => {
    const steps = await honestSteps();
    const hello = helloOf(steps);
    const { ekCertificate, ekIntermediates, ekPublic, akPublic } = await stranger.hello();
    Object.assign(hello, { ekCertificate, ekIntermediates, ekPublic, akPublic });
    await using call = await AttestAgentCall.open(bed.port);
    await refused(await call.begin(encode(steps)), PERMISSION_DENIED, /no node with EK/);
  });

  test("an AK of another TPM, beside this one's EK", async () => {
    const steps = await honestSteps();
    const hello = helloOf(steps);
    hello.akPublic = stranger.akPublic;
    await using call = await AttestAgentCall.open(bed.port);
    const challenge = challengeIn(await call.begin(encode(steps)));
    const { ekPublic } = hello;
    // Nobody can tell the secret: neither the TPM with the EK, which lacks the AK, nor the one with the AK.
    await using client = await openTpm(bed);
    await assert.rejects(client.activateCredential(challenge.credentialBlob, challenge.encryptedSecret));
    await assert.rejects(stranger.client.activateCredential(challenge.credentialBlob, challenge.encryptedSecret));
    const answer = await call.respond(await lie(challenge, ekPublic, stranger.client, stranger.akName));
    await refused(answer, PERMISSION_DENIED, /another nonce/);
  });

  test('an activation that another machine answers', async () => {
    const steps = await honestSteps();
    const { ekPublic, akPublic } = helloOf(steps);
    await using call = await AttestAgentCall.open(bed.port);
    const challenge = challengeIn(await call.begin(encode(steps)));
    await assert.rejects(stranger.client.activateCredential(challenge.credentialBlob, challenge.encryptedSecret));
    const akName = objectName(parsePublicArea(akPublic));
    const answer = await call.respond(await lie(challenge, ekPublic, stranger.client, akName));
    await refused(answer, PERMISSION_DENIED, /the quote is not signed by the attestation key of this node/);
  });

  /** Evidence under a guessed secret, with this machine's event log and list. */
  async function lie(
    { nonce }: EnrolChallenge,
    ekPublic: Uint8Array,
    tpm: TpmClient,
    akName: Uint8Array,
  ): Promise<Uint8Array> {
    const [secret, csr, exporter] = [new Uint8Array(32), new Uint8Array(), spireExporter(nonce)];
    const extraData = enrolmentExtraData({ trustDomain: TRUST_DOMAIN, nonce, secret, ekPublic, akName, csr, exporter });
    const { attest, signature } = await tpm.quote(extraData);
    const values = [
      { case: 'eventLog', value: await stranger.eventLog() },
      { case: 'list', value: await stranger.list() },
      { case: 'evidence', value: { attest, signature } },
    ] as const;
    return encode({ steps: values.map((step) => create(EnrolRequestSchema, { step })) });
  }
});

/** The agent half of the plugin, led by hand. */
class HonestHalf implements AsyncDisposable {
  readonly #challenges = new MessageChannel<{ challenge: Uint8Array }>();
  readonly #ended = new AbortController();
  readonly #messages;

  private constructor(half: ReturnType<typeof createAgentHalf>) {
    const client = createClient(NodeAttestor, createRouterTransport(half.routes));
    const { signal } = this.#ended;
    this.#messages = client.aidAttestation(this.#challenges, { signal })[Symbol.asyncIterator]();
  }

  static async open(data: readonly string[]): Promise<HonestHalf> {
    const half = createAgentHalf({ log: openPluginLog(() => undefined) });
    await half.configure(TRUST_DOMAIN, data.join('\n'));
    return new HonestHalf(half);
  }

  async next(challenge?: Uint8Array): Promise<Uint8Array> {
    if (challenge !== undefined) this.#challenges.push({ challenge });
    return (await this.#messages.next()).value?.data.value ?? new Uint8Array();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#challenges.end();
    this.#ended.abort();
    await this.#messages.next().catch(() => undefined);
  }
}

async function openTpm(bed: SpireBed): Promise<TpmClient & AsyncDisposable> {
  const client = await TpmClient.open(bed.node.proxy.address);
  await client.createEndorsementKey();
  await client.createAttestationKey();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.close() });
}

function helloOf({ steps: [first] }: SpireSteps) {
  assert.equal(first?.step.case, 'hello');
  return first.step.value;
}

function challengeIn(answer: Answer): EnrolChallenge {
  assert.ok('challenge' in answer, JSON.stringify(answer));
  const { step } = fromBinary(SpireChallengeSchema, answer.challenge);
  assert.ok(step.case === 'challenge' && step.value.challenge !== undefined);
  return step.value.challenge;
}

function encode(steps: MessageInitShape<typeof SpireStepsSchema>): Uint8Array {
  return toBinary(SpireStepsSchema, create(SpireStepsSchema, steps));
}
