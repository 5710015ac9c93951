import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { evmSigEntry, imaSigEntry } from '../../test/simulator/list-entry.ts';
import {
  codeOf,
  containerOf,
  digestOf,
  Fixture,
  requestOf,
  type ScriptedSession,
  uidOf,
} from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { decodeRecord, encodeRecord } from '../container/record.ts';

const skip = skipWithoutSoftwareTpm();

async function endsWith(session: ScriptedSession, code: string, pattern: RegExp): Promise<void> {
  const error = await session.end();
  assert.equal(codeOf(error), code, error.message);
  assert.match(error.message, pattern);
  assert.equal(
    answersOf(session).filter(({ outcome }) => outcome.case === 'identities').length,
    0,
    'nothing was issued',
  );
  session.close();
}

function answersOf(session: ScriptedSession) {
  return session.received.flatMap((message) => (message.case === 'answer' ? [message.value] : []));
}

describe('evidence', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('of another connection is refused: its exporter is in the quote', async () => {
    const container = containerOf(1);
    const session = await fixture.session(container);
    await session.evidence([requestOf(container)], { exporter: new Uint8Array(randomBytes(32)) });
    await endsWith(session, 'tpm.quote.extra-data', /another nonce, request or connection/);
  });

  test('recorded on one connection and sent on the next is refused', async () => {
    const container = containerOf(2);
    const first = await fixture.session(container);
    const nonce = await first.nonce();
    const request = requestOf(container);
    await first.evidence([request], { nonce });
    await first.next('answer');
    const sent = await fixture.node.client.quote(new Uint8Array(32));
    first.close();
    const second = await fixture.session(container);
    await second.evidence([request], { nonce, quote: sent });
    assert.equal((await second.next('answer')).outcome.case, 'quoteNeeded', 'the nonce is of the other session');
    second.close();
  });

  test('with a nonce that was used already answers nobody', async () => {
    const container = containerOf(3);
    const session = await fixture.session(container);
    const nonce = await session.nonce();
    const [first, second] = [requestOf(container), requestOf(container)];
    await session.evidence([first], { nonce });
    assert.equal((await session.next('answer')).outcome.case, 'identities');
    await session.evidence([second], { nonce });
    assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded');
    session.close();
  });

  test('with a nonce of its own making answers nobody', async () => {
    const container = containerOf(4);
    const session = await fixture.session(container);
    await session.evidence([requestOf(container)], { nonce: new Uint8Array(randomBytes(32)) });
    assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded');
    assert.equal((await session.ask(requestOf(container))).case, 'identities', 'the session goes on');
    session.close();
  });

  test('whose tree does not hold the request is refused', async () => {
    const container = containerOf(5);
    const session = await fixture.session(container);
    await session.evidence([requestOf(container), requestOf(container)], {
      quoted: [requestOf(container), requestOf(container)],
    });
    await endsWith(session, 'tpm.quote.extra-data', /another nonce, request or connection/);
  });

  test('whose tree holds a leaf more than the requests is refused', async () => {
    const container = containerOf(6);
    const session = await fixture.session(container);
    const request = requestOf(container);
    await session.evidence([request], { quoted: [request, requestOf(container)] });
    await endsWith(session, 'tpm.quote.extra-data', /another nonce, request or connection/);
  });

  test('with two equal leaves is refused', async () => {
    const container = containerOf(7);
    const session = await fixture.session(container);
    const request = requestOf(container);
    const twin = { ...requestOf(container), record: request.record, subject: request.subject };
    await session.evidence([request, twin], { quoted: [request] });
    await endsWith(session, 'tpm.batch.duplicate', /same leaf/);
  });

  test('with a wrong count of leaves is refused', async () => {
    const container = containerOf(8);
    const session = await fixture.session(container);
    await session.evidence([requestOf(container)], { count: 2 });
    await endsWith(session, 'tpm.quote.extra-data', /another nonce, request or connection/);
  });

  test('that confirms what waits for no confirmation is refused', async () => {
    const container = containerOf(9);
    const session = await fixture.session(container);
    await session.evidence([], { confirms: [requestOf(container)] });
    await endsWith(session, 'server.protocol', /waits for no confirmation/);
  });

  test('signed by nobody is refused', async () => {
    const container = containerOf(10);
    const session = await fixture.session(container);
    const quote = await fixture.node.client.quote(new Uint8Array(32));
    const signature = quote.signature.slice();
    signature[signature.length - 1] = (signature.at(-1) ?? 0) ^ 1;
    await session.evidence([requestOf(container)], { quote: { ...quote, signature } });
    await endsWith(session, 'tpm.quote.signature', /not signed by the attestation key/);
  });

  test('of another length of the list than was sent is refused', async () => {
    const container = containerOf(11);
    const session = await fixture.session(container);
    await session.evidence([requestOf(container)], { listLength: 17 });
    await endsWith(session, 'server.protocol', /another length of the list/);
  });

  test('with a truncated list is no evidence', async () => {
    const container = containerOf(12);
    const session = await fixture.session(container);
    const list = await fixture.node.list();
    await session.evidence([requestOf(container)], { listUpTo: list.length - 200 });
    const answer = await session.next('answer');
    assert.ok(answer.outcome.case === 'refusal');
    assert.equal(answer.outcome.value.code, 'ima.prefix.unexplained');
    assert.equal(answer.outcome.value.retry, true);
    const { host } = await session.next('node');
    assert.equal(host?.trusted, false);
    assert.equal(
      (await session.ask(requestOf(container))).case,
      'identities',
      'the rest of the list makes it evidence',
    );
    const record = await fixture.server.admin.getNode({ node: fixture.node.spiffeId });
    assert.equal(record.host?.trusted, true, 'and the node is trusted again');
    session.close();
  });

  test('with an entry that the TPM never saw gives nothing on it', async () => {
    const container = containerOf(13);
    const session = await fixture.node.attest(fixture.server, fixture.identity);
    session.tell(container);
    await session.sendList();
    const forged = evmSigEntry(10, { path: '/bin/app', sha256: digestOf('image /bin/app') }, { uid: uidOf(13) });
    session.send({ case: 'list', value: { offset: BigInt(session.sentBytes), data: forged.bytes } });
    session.sentBytes += forged.bytes.length;
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal', 'the forged entry lies behind what the quote covers');
    assert.equal(outcome.value.code, 'appraisal.entrypoint.missing');
    await fixture.node.kernel.measureHost({ path: '/usr/bin/crun', sha256: digestOf('host /usr/bin/crun') });
    await session.evidence([requestOf(container)], { listUpTo: 0 });
    const answer = await session.next('answer');
    assert.ok(answer.outcome.case === 'refusal');
    assert.equal(answer.outcome.value.code, 'ima.prefix.unexplained');
    session.close();
  });

  test('with a bad entry of the host refuses every container', async () => {
    const container = containerOf(14);
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    const { bytes } = imaSigEntry(10, { path: '/tmp/rootkit', sha256: digestOf('rootkit') });
    session.send({ case: 'list', value: { offset: BigInt(session.sentBytes), data: bytes } });
    const withdrawal = await session.next('withdrawal');
    assert.equal(withdrawal.containerId, '', 'the whole node');
    assert.match(withdrawal.refusal?.sentence ?? '', /\/tmp\/rootkit/);
    session.close();
  });
});

describe('a request', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('with the record of another container is refused', async () => {
    const [mine, other] = [containerOf(1), containerOf(2, { manifestDigest: `sha256:${'ee'.repeat(32)}` })];
    const session = await fixture.session(mine, other);
    const borrowed = requestOf(mine).record;
    const mixed = requestOf(other, { record: await recordNaming(mine, other) });
    const unknown = await session.ask(mixed);
    assert.ok(unknown.case === 'refusal');
    assert.equal(unknown.value.code, 'server.workload.unknown');
    const good = await session.ask(requestOf(other, { record: borrowed }));
    assert.equal(good.case, 'identities', 'a record decides whose request it is, and it is under the quote');
    session.close();
  });

  test('of a container that was never told is refused, and may be asked again', async () => {
    const session = await fixture.session(containerOf(3));
    const outcome = await session.ask(requestOf(containerOf(4)));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'server.workload.unknown');
    assert.equal(outcome.value.retry, true);
    session.close();
  });

  test('of a caller that is not in the container is refused', async () => {
    const container = containerOf(5);
    const session = await fixture.session(container);
    const request = requestOf(container);
    const record = encodeRecord({ ...decodeRecord(request.record).claim, isInitFamily: false });
    const outcome = await session.ask({ ...request, record });
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'container.caller.foreign');
    session.close();
  });

  test('with a record that is not canonical ends the session', async () => {
    const container = containerOf(6);
    const session = await fixture.session(container);
    const request = requestOf(container);
    const record = new Uint8Array([...request.record, 0x98, 0x06, 0x01]);
    await session.evidence([{ ...request, record }]);
    await endsWith(session, 'container.not-canonical', /canonical/);
  });
});

async function recordNaming(
  named: ReturnType<typeof containerOf>,
  state: ReturnType<typeof containerOf>,
): Promise<Uint8Array> {
  const { containerSha256 } = decodeRecord(requestOf(state).record).claim;
  return encodeRecord({ ...decodeRecord(requestOf(named).record).claim, containerSha256 });
}
