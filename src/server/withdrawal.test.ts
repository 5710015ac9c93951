import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import {
  codeOf,
  containerOf,
  digestOf,
  Fixture,
  IMAGE_FILES,
  MANIFEST,
  requestOf,
  type ScriptedSession,
  uidOf,
} from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { encodeContainer } from '../container/record.ts';

const skip = skipWithoutSoftwareTpm();

async function issued(session: ScriptedSession, container: ReturnType<typeof containerOf>): Promise<void> {
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
}

function withdrawals(session: ScriptedSession): string[] {
  return session.received.flatMap((message) => (message.case === 'withdrawal' ? [message.value.containerId] : []));
}

describe('withdrawal', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('follows a changed file at once, before any quote, and for its container alone', async () => {
    const [orders, payments] = [containerOf(1), containerOf(2)];
    const session = await fixture.session(orders, payments);
    await issued(session, orders);
    await issued(session, payments);
    const quotes = fixture.node.proxy.quotes;
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('tampered') }, { uid: uidOf(1) });
    await session.sendList();
    const { containerId, refusal } = await session.next('withdrawal');
    assert.equal(containerId, orders.id);
    assert.equal(refusal?.code, 'appraisal.file.unexpected');
    assert.match(refusal?.sentence ?? '', /\/bin\/app/);
    assert.equal(fixture.node.proxy.quotes, quotes, 'no quote was needed');
    const again = await session.ask(requestOf(orders));
    assert.ok(again.case === 'refusal');
    assert.equal(again.value.code, 'appraisal.file.unexpected');
    await issued(session, payments);
    assert.deepEqual(withdrawals(session), [orders.id]);
    const { workloads } = await fixture.server.admin.listWorkloads({});
    const row = workloads.find((one) => one.containerId === orders.id);
    assert.ok((row?.withdrawnAtUnixMs ?? 0n) > 0n);
    assert.deepEqual(row?.spiffeIds, []);
    assert.equal(row?.verdict?.findings.find(({ fatal }) => fatal)?.path, '/bin/app');
    assert.equal(workloads.find((one) => one.containerId === payments.id)?.spiffeIds.length, 1);
    session.close();
  });

  test('follows a file that is in no image', async () => {
    const container = containerOf(3);
    const session = await fixture.session(container);
    await issued(session, container);
    await fixture.node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(3) });
    await session.sendList();
    assert.equal((await session.next('withdrawal')).refusal?.code, 'appraisal.file.unknown');
    session.close();
  });

  test('does not follow a good file', async () => {
    const container = containerOf(4);
    const session = await fixture.session(container);
    await issued(session, container);
    const helper = IMAGE_FILES[2];
    assert.ok(helper);
    await fixture.node.kernel.measureContainer(helper, { uid: uidOf(4) });
    await session.sendList();
    await issued(session, container);
    assert.deepEqual(withdrawals(session), []);
    session.close();
  });

  test('follows a container that becomes privileged', async () => {
    const container = containerOf(5);
    const session = await fixture.session(container);
    await issued(session, container);
    const changed = encodeContainer({ ...container, privileged: true });
    session.send({ case: 'containers', value: { containers: [changed], gone: [], complete: false } });
    const { containerId, refusal } = await session.next('withdrawal');
    assert.equal(containerId, container.id);
    assert.equal(refusal?.code, 'container.attribution.host');
    session.close();
  });

  test('follows an image that is no longer approved, and the image can come back', async () => {
    const container = containerOf(6);
    const session = await fixture.session(container);
    await issued(session, container);
    await fixture.server.admin.deleteImage({ manifestDigest: MANIFEST });
    const { refusal } = await session.next('withdrawal');
    assert.equal(refusal?.code, 'appraisal.image.unknown');
    await fixture.server.approveImage(MANIFEST, IMAGE_FILES);
    await issued(session, container);
    session.close();
  });

  test('follows an entry that expires, with the next quote, though nothing else is other than before', async () => {
    const container = containerOf(14);
    const session = await fixture.session(container);
    const expiresAt = BigInt(Math.ceil(Date.now() / 1000) + 2);
    const { entries } = fixture.server;
    await entries.batchUpdateEntry({
      entries: [{ id: fixture.entryId, expiresAt }],
      inputMask: { expiresAt: true },
    });
    await issued(session, container);
    await session.evidence();
    await delay(Number(expiresAt) * 1000 - Date.now() + 50);
    assert.deepEqual(withdrawals(session), []);
    await session.evidence();
    assert.equal((await session.next('withdrawal')).refusal?.code, 'server.entry.none');
    await entries.batchUpdateEntry({ entries: [{ id: fixture.entryId }], inputMask: { expiresAt: true } });
    session.close();
  });

  test('follows an entry that is deleted, and the agent is told to ask again', async () => {
    const container = containerOf(7);
    const session = await fixture.session(container);
    await issued(session, container);
    await fixture.server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
    assert.equal((await session.next('withdrawal')).containerId, container.id);
    await session.next('entriesChanged');
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'server.entry.none');
    await fixture.server.createEntry('/orders', fixture.node.spiffeId, ['lacre:image-name:registry.test/app:1']);
    await session.next('entriesChanged');
    await issued(session, container);
    session.close();
  });

  test('takes only the identity whose entry went, and leaves the others', async () => {
    const container = containerOf(8);
    const id = await fixture.server.createEntry('/second', fixture.node.spiffeId, [
      `lacre:container-name:${container.name}`,
    ]);
    const session = await fixture.session(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'identities');
    assert.equal(outcome.value.x509.length, 2);
    await fixture.server.entries.batchDeleteEntry({ ids: [id] });
    await session.next('entriesChanged');
    assert.deepEqual(withdrawals(session), []);
    const { workloads } = await fixture.server.admin.why({ subject: container.name });
    assert.deepEqual(workloads[0]?.spiffeIds, ['spiffe://lacre.test/orders']);
    session.close();
  });

  test('follows an entry that went, also where another one came in its place', async () => {
    const container = containerOf(15, { name: 'renamed' });
    const { server, node } = fixture;
    const first = await server.createEntry('/before', node.spiffeId, ['lacre:container-name:renamed']);
    const session = await fixture.session(container);
    const request = requestOf(container);
    const all = await server.entries.listEntries({});
    const ids = all.entries.map(({ id }) => id).filter((id) => id !== first);
    await server.entries.batchDeleteEntry({ ids });
    const outcome = await session.ask(request);
    assert.ok(outcome.case === 'identities');
    assert.deepEqual(
      outcome.value.x509.map(({ spiffeId }) => spiffeId),
      ['spiffe://lacre.test/before'],
    );
    await server.createEntry('/after', node.spiffeId, ['lacre:container-name:renamed']);
    await server.entries.batchDeleteEntry({ ids: [first] });
    const { refusal } = await session.next('withdrawal');
    assert.equal(refusal?.code, 'server.entry.withdrawn');
    const again = await session.ask(requestOf(container));
    assert.ok(again.case === 'identities' && again.value.x509[0]?.spiffeId === 'spiffe://lacre.test/after');
    fixture.entryId = await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1']);
    session.close();
  });

  test('follows a container that is gone, and is told to its agent alone', async () => {
    const container = containerOf(9);
    const session = await fixture.session(container);
    await issued(session, container);
    session.send({ case: 'containers', value: { containers: [], gone: [container.id], complete: false } });
    await session.evidence();
    await session.next('node');
    assert.deepEqual(withdrawals(session), [container.id]);
    const { workloads } = await fixture.server.admin.why({ subject: container.name });
    assert.equal(workloads[0]?.running, false);
    assert.equal(workloads[0]?.withdrawnAtUnixMs, 0n);
    assert.deepEqual(workloads[0]?.spiffeIds, []);
    session.close();
  });

  test('reaches watchers as events, in the order in which things happened', async () => {
    const container = containerOf(10);
    const session = await fixture.session(container);
    const stop = new AbortController();
    const events: string[] = [];
    const watching = (async () => {
      for await (const event of fixture.server.admin.watch({}, { signal: stop.signal })) events.push(event.kind);
    })();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await issued(session, container);
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('other') }, { uid: uidOf(10) });
    await session.sendList();
    await session.next('withdrawal');
    await new Promise((resolve) => setTimeout(resolve, 100));
    stop.abort();
    await watching.catch(() => undefined);
    assert.deepEqual(events, ['issued', 'withdrawn']);
    session.close();
  });

  test('reaches what was issued on a node that is not connected', async () => {
    const [first, second] = [containerOf(12, { name: 'offline' }), containerOf(13, { name: 'offline-too' })];
    const id = await fixture.server.createEntry('/offline', fixture.node.spiffeId, ['lacre:container-name:offline']);
    const session = await fixture.session(first, second);
    const outcome = await session.ask(requestOf(first));
    assert.ok(outcome.case === 'identities' && outcome.value.x509.length === 2);
    await issued(session, second);
    session.close();
    const held = async (name: string) => (await fixture.server.admin.why({ subject: name })).workloads[0]?.spiffeIds;
    await fixture.server.entries.batchDeleteEntry({ ids: [id] });
    assert.deepEqual(await held('offline'), ['spiffe://lacre.test/orders']);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await fixture.server.admin.deleteImage({ manifestDigest: MANIFEST });
    assert.deepEqual([await held('offline'), await held('offline-too')], [[], []]);
    await fixture.server.approveImage(MANIFEST, IMAGE_FILES);
  });

  test('reaches every identity on a host whose reference values are approved no longer', async () => {
    const container = containerOf(14);
    const session = await fixture.session(container);
    await issued(session, container);
    await fixture.server.admin.deleteHost({ name: 'test-host' });
    assert.equal((await session.next('withdrawal')).containerId, '');
    const error = await session.end();
    assert.equal(codeOf(error), 'server.epoch.ended', String(error));
    session.close();
    const later = await fixture.session(container);
    const outcome = await later.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, 'appraisal.host.refused');
    assert.match(outcome.value.sentence, /no reference values are approved/);
    await fixture.server.approve();
    assert.equal(codeOf(await later.end()), 'server.epoch.ended', 'the list is judged anew');
    const again = await fixture.session(container);
    await issued(again, container);
    again.close();
  });

  test('of a banned node takes everything and ends its session', async () => {
    const container = containerOf(11);
    const session = await fixture.session(container);
    await issued(session, container);
    await fixture.server.admin.deleteNode({ node: 'node-1' });
    const error = await session.end();
    assert.equal(codeOf(error), 'server.node.banned', String(error));
    const { workloads } = await fixture.server.admin.listWorkloads({});
    assert.deepEqual(
      workloads.flatMap(({ spiffeIds }) => spiffeIds),
      [],
    );
    await assert.rejects(fixture.node.attest(fixture.server, fixture.identity), /not in the inventory/);
    await assert.rejects(fixture.node.enrol(fixture.server), /no node with EK/);
    session.close();
  });
});
