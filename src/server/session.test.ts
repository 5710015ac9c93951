import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { containerOf, Fixture, requestOf } from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { verifyX509Svid } from '../identity/x509-svid.ts';

const skip = skipWithoutSoftwareTpm();
const none = new Uint8Array();

describe('a session', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('gives a container of the approved image its identity', async () => {
    const { server } = fixture;
    const container = containerOf(1);
    const session = await fixture.session(container);
    const before = Date.now();
    const request = requestOf(container);
    const outcome = await session.ask(request);
    assert.ok(outcome.case === 'identities');
    const [x509, ...others] = outcome.value.x509;
    assert.ok(x509 !== undefined && others.length === 0);
    assert.equal(x509.spiffeId, 'spiffe://lacre.test/orders');
    const chain = x509.certificateChain;
    const svid = verifyX509Svid({ chain, bundle: await server.bundle(), now: new Date() });
    assert.equal(svid.spiffeId.uri, 'spiffe://lacre.test/orders');
    assert.deepEqual(svid.publicKey, request.subject);
    const { verdict } = await session.next('node').then((node) => ({ verdict: node.host }));
    const madeAt = Number(verdict?.evidenceTimeUnixMs ?? 0n);
    assert.ok(madeAt > 0 && madeAt <= Date.now());
    assert.ok(svid.notAfter.getTime() <= madeAt + 300_000, 'no longer than five minutes after its evidence');
    assert.ok(svid.notAfter.getTime() > before + 290_000 - 5_000);
    assert.equal(Number(x509.expiresAtUnixMs), svid.notAfter.getTime());
    session.close();
  });

  test('answers all requests of one batch under one quote', async () => {
    const containers = [10, 11, 12, 13, 14, 15, 16].map((number) => containerOf(number));
    const session = await fixture.session(...containers);
    const quotes = fixture.node.proxy.quotes;
    const requests = containers.flatMap((container) => [requestOf(container), requestOf(container, { kind: 3 })]);
    await session.evidence(requests);
    for (const request of requests) {
      const answer = await session.next('answer');
      assert.equal(answer.id, request.id);
      assert.ok(answer.outcome.case === 'identities');
      assert.equal(answer.outcome.value.x509.length, request.kind === 1 ? 1 : 0);
    }
    assert.equal(fixture.node.proxy.quotes, quotes + 1);
    session.close();
  });

  test('refuses an image that nobody approved, by name and with the verdict', async () => {
    const stranger = containerOf(20, {
      manifestDigest: `sha256:${'ff'.repeat(32)}`,
      imageName: 'registry.test/stranger:1',
    });
    const session = await fixture.session(stranger);
    const outcome = await session.ask(requestOf(stranger));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'appraisal.image.unknown');
    assert.match(outcome.value.sentence, /registry\.test\/stranger:1/);
    assert.equal(outcome.value.verdict?.trusted, false);
    const { workloads } = await fixture.server.admin.why({ subject: 'app-20' });
    assert.equal(workloads[0]?.verdict?.findings.find(({ fatal }) => fatal)?.code, 'appraisal.image.unknown');
    session.close();
  });

  test('answers on fresh evidence of the same connection, and wants that confirmed', async () => {
    const container = containerOf(30);
    const session = await fixture.session(container);
    const [first, second] = [requestOf(container), requestOf(container)];
    session.send({ case: 'request', value: { ...first, kind: 1 } });
    const early = await session.next('answer');
    assert.equal(early.outcome.case, 'quoteNeeded', 'there is no evidence yet');
    await session.evidence([first]);
    assert.equal((await session.next('answer')).outcome.case, 'identities');
    const quotes = fixture.node.proxy.quotes;
    session.send({ case: 'request', value: { ...second, kind: 1 } });
    const reused = await session.next('answer');
    assert.equal(reused.outcome.case, 'identities');
    assert.equal(fixture.node.proxy.quotes, quotes);
    await session.next('node');
    await session.evidence([], { confirms: [second] });
    assert.equal((await session.next('node')).host?.trusted, true);
    await session.evidence();
    await session.next('node');
    await session.evidence();
    await session.next('node');
    assert.deepEqual(
      session.received.filter((message) => message.case === 'withdrawal'),
      [],
    );
    session.close();
  });

  test('withdraws what no quote confirmed', async () => {
    const container = containerOf(31);
    const session = await fixture.session(container);
    await session.evidence();
    await session.next('node');
    session.send({ case: 'request', value: { ...requestOf(container), kind: 1 } });
    assert.equal((await session.next('answer')).outcome.case, 'identities');
    for (let quotes = 0; quotes < 3; quotes++) {
      await session.evidence();
      await session.next('node');
    }
    const withdrawal = await session.next('withdrawal');
    assert.equal(withdrawal.containerId, container.id);
    assert.equal(withdrawal.refusal?.retry, true);
    session.close();
  });

  test('does not answer on reused evidence before the container ran its program under a quote', async () => {
    const [running, late] = [containerOf(32), containerOf(33)];
    const session = await fixture.session(running);
    await session.evidence();
    await session.next('node');
    session.tell(running, late);
    await fixture.run(late);
    await session.sendList();
    session.send({ case: 'request', value: { ...requestOf(late), kind: 1 } });
    assert.equal((await session.next('answer')).outcome.case, 'quoteNeeded');
    assert.equal((await session.ask(requestOf(late))).case, 'identities');
    session.close();
  });

  test('refuses a container whose program was never executed', async () => {
    const container = containerOf(34);
    const session = await fixture.session();
    session.tell(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'appraisal.entrypoint.missing');
    session.close();
  });

  test('tells a workload without an entry what is missing', async () => {
    const container = containerOf(35, { imageName: 'other' });
    const { server } = fixture;
    await server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
    const id = await server.createEntry('/sealed', fixture.node.spiffeId, [
      'lacre:image-name:registry.test/app:1',
      'lacre:host:sealed',
    ]);
    const session = await fixture.session(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'server.entry.none');
    assert.match(outcome.value.sentence, /requires host sealed/);
    assert.equal((await session.ask(requestOf(container, { kind: 3 }))).case, 'refusal', 'no bundle either');
    await server.entries.batchDeleteEntry({ ids: [id] });
    await server.createEntry('/orders', fixture.node.spiffeId, ['lacre:image-name:registry.test/app:1']);
    session.close();
  });

  test('is what the admin API shows', async () => {
    const container = containerOf(40, { name: 'shown' });
    const session = await fixture.session(container);
    await session.ask(requestOf(container));
    const info = await fixture.server.admin.getNode({ node: 'node-1' });
    assert.equal(info.state, 'attested');
    assert.equal(info.rootOfTrust, 'software');
    assert.equal(info.kernel, '6.1.0-test');
    assert.ok(info.verifiedEntries >= 5n);
    assert.equal(info.host?.trusted, true);
    const { workloads } = await fixture.server.admin.why({ subject: 'shown' });
    const [shown] = workloads;
    assert.deepEqual(shown?.spiffeIds, ['spiffe://lacre.test/orders']);
    assert.equal(shown?.attribution, 'exact');
    assert.equal(shown?.verdict?.trusted, true);
    const bySpiffeId = await fixture.server.admin.why({ subject: 'spiffe://lacre.test/orders' });
    assert.ok(bySpiffeId.workloads.some(({ containerId }) => containerId === container.id));
    session.close();
  });

  test('issues certificates that others can read', async () => {
    const container = containerOf(41);
    const session = await fixture.session(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'identities');
    const leaf = new X509Certificate(outcome.value.x509[0]?.certificateChain[0] ?? none);
    assert.equal(leaf.subjectAltName, 'URI:spiffe://lacre.test/orders');
    session.close();
  });
});
