import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectError } from '@connectrpc/connect';
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
import type { Finding, Verdict } from '../proto/lacre/v1/verdict_pb.ts';

const skip = skipWithoutSoftwareTpm();

async function verdictOf(
  session: ScriptedSession,
  container: ReturnType<typeof containerOf>,
): Promise<Verdict | undefined> {
  const outcome = await session.ask(requestOf(container));
  return outcome.case === 'refusal' ? outcome.value.verdict : undefined;
}

function facts(verdict: Verdict | undefined) {
  return verdict?.findings.map(({ code, path, seenSha256, logIndex, fatal, detail }: Finding) => ({
    code,
    path,
    seenSha256,
    logIndex,
    fatal,
    detail,
  }));
}

describe('an epoch', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  test('a newer session of the node ends the older, which issues nothing more', async () => {
    const container = containerOf(1);
    const older = await fixture.session(container);
    assert.equal((await older.ask(requestOf(container))).case, 'identities');
    const newer = await fixture.session(container);
    const error = await older.end();
    assert.equal(codeOf(error), 'server.store.fenced', String(error));
    await older.evidence([requestOf(container)]).catch(() => undefined);
    assert.equal((await newer.ask(requestOf(container))).case, 'identities');
    assert.equal(older.received.filter((message) => message.case === 'answer').length, 1);
    older.close();
    newer.close();
  });

  test('goes on after the server was restarted, with the same verdicts', async () => {
    const [good, bad] = [containerOf(2), containerOf(3)];
    const first = await fixture.session(good, bad);
    assert.equal((await first.ask(requestOf(good))).case, 'identities');
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('drift') }, { uid: uidOf(3) });
    const before = await verdictOf(first, bad);
    assert.equal(before?.trusted, false);
    first.close();
    await fixture.server.restart();
    const second = await fixture.session(good, bad);
    assert.equal((await second.ask(requestOf(good))).case, 'identities');
    const afterwards = await verdictOf(second, bad);
    assert.deepEqual(facts(afterwards), facts(before));
    second.close();
  });

  test('a server that stops says so', async () => {
    const session = await fixture.session();
    const ended = session.end();
    await fixture.server.restart();
    assert.equal(codeOf(await ended), 'server.stopping');
    session.close();
  });

  test('remembers over a restart what only containers told: a range that once was open to others', async () => {
    const container = containerOf(5);
    const first = await fixture.session(container);
    assert.equal((await first.ask(requestOf(container))).case, 'identities');
    await fixture.server.createEntry('/exact', fixture.node.spiffeId, [
      `lacre:container-name:${container.name}`,
      'lacre:attribution:exact',
    ]);
    const idsOf = async (session: ScriptedSession, who = container) => {
      const outcome = await session.ask(requestOf(who));
      return outcome.case === 'identities' ? outcome.value.x509.map(({ spiffeId }) => spiffeId).sort() : outcome.value;
    };
    assert.deepEqual(await idsOf(first), ['spiffe://lacre.test/exact', 'spiffe://lacre.test/orders']);
    const loose = containerOf(6, { seccompDeniesUserns: false });
    const observation = {
      unprivilegedUsernsClone: 0,
      lockdown: 'integrity',
      kernel: '6.1.0-test',
      kexecLoadDisabled: 2,
      ptraceScope: 4,
    };
    first.send({ case: 'observation', value: observation });
    first.tellMore(loose);
    assert.deepEqual(await idsOf(first), ['spiffe://lacre.test/orders'], 'a neighbour could have made such files');
    first.sayGone(loose);
    assert.deepEqual(await idsOf(first), ['spiffe://lacre.test/orders'], 'for the rest of the epoch');
    first.close();
    await fixture.server.restart();
    const second = await fixture.session(container);
    assert.deepEqual(await idsOf(second), ['spiffe://lacre.test/orders'], 'and after a restart');
    second.close();
  });

  test('keeps a bad entry in its range when another container has the range later', async () => {
    const first = containerOf(7);
    const session = await fixture.session(first);
    await fixture.node.kernel.measureContainer({ path: '/opt/tool', sha256: digestOf('tool') }, { uid: uidOf(7) });
    assert.equal((await verdictOf(session, first))?.trusted, false);
    const digest = `sha256:${'c7'.repeat(32)}`;
    const files = [
      { path: '/bin/app', sha256: digestOf('image /bin/app'), mode: 0o755 },
      { path: '/lib/libapp.so', sha256: digestOf('image /lib/libapp.so'), mode: 0o755 },
      { path: '/opt/tool', sha256: digestOf('tool'), mode: 0o755 },
    ];
    await fixture.server.approveImage(digest, files);
    const heir = containerOf(7, { id: 'ab'.repeat(32), name: 'heir', manifestDigest: digest });
    session.sayGone(first);
    session.tellMore(heir);
    const held = await verdictOf(session, heir);
    assert.equal(held?.trusted, false);
    assert.equal(held?.findings.find(({ fatal }) => fatal)?.path, '/opt/tool');
    session.close();
    await fixture.server.restart();
    const again = await fixture.session(heir);
    assert.deepEqual(facts(await verdictOf(again, heir)), facts(held));
    again.close();
  });

  test('identities of an earlier session are withdrawn for what the list shows in the next', async () => {
    const container = containerOf(8);
    const first = await fixture.session(container);
    assert.equal((await first.ask(requestOf(container))).case, 'identities');
    first.close();
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('meanwhile') }, { uid: uidOf(8) });
    const second = await fixture.session(container);
    await second.evidence();
    assert.equal((await second.next('withdrawal')).containerId, container.id);
    const { workloads } = await fixture.server.admin.why({ subject: container.name });
    assert.deepEqual(workloads[0]?.spiffeIds, []);
    second.close();
  });

  test('a list that was cut off behind the verified index explains no quote', async () => {
    const container = containerOf(9);
    const session = await fixture.session(container);
    const list = await fixture.node.list();
    await session.evidence([requestOf(container)], { listUpTo: Math.floor(list.length / 2) });
    const answer = await session.next('answer');
    assert.ok(answer.outcome.case === 'refusal');
    assert.equal(answer.outcome.value.code, 'ima.prefix.unexplained');
    session.close();
  });

  test('a quote from before the newest one is not taken', async () => {
    const container = containerOf(10);
    const session = await fixture.session(container);
    const old = await session.nonce();
    const request = requestOf(container);
    const stale = await session.quoteFor([request], old);
    await fixture.node.kernel.measureHost({ path: '/usr/bin/podman', sha256: digestOf('host /usr/bin/podman') });
    await session.evidence();
    assert.equal((await session.next('node')).host?.trusted, true);
    await session.evidence([request], { nonce: old, quote: stale });
    const outcome = await session.next('answer').then(
      (answer) => answer.outcome,
      (error: unknown) => error,
    );
    const refused = outcome instanceof ConnectError || (outcome as { case: string }).case === 'refusal';
    assert.ok(refused, JSON.stringify(Object(outcome).case));
    session.close();
  });

  test('a reboot begins a new one, and what was bad before is forgotten', async () => {
    const container = containerOf(11);
    const first = await fixture.session(container);
    await fixture.node.kernel.measureContainer({ path: '/bin/app', sha256: digestOf('bad') }, { uid: uidOf(11) });
    assert.equal((await verdictOf(first, container))?.trusted, false);
    first.close();
    await fixture.node.reboot();
    const second = await fixture.session(container);
    assert.equal((await second.ask(requestOf(container))).case, 'identities');
    second.close();
  });

  test('a reset of the TPM within a session ends it', async () => {
    const container = containerOf(12);
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    await fixture.node.reboot();
    await session.evidence([requestOf(container)]);
    const error = await session.end();
    assert.equal(codeOf(error), 'server.epoch.ended', String(error));
    session.close();
  });
});

describe('silence', { skip }, () => {
  test('makes a node lost, and ends its session', async () => {
    await using fixture = await Fixture.start('quote_interval: 1s');
    const container = containerOf(1);
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    const error = await session.end(12_000);
    assert.equal(codeOf(error), 'server.node.silent', String(error));
    assert.equal((await fixture.server.admin.getNode({ node: 'node-1' })).state, 'lost');
    session.close();
  });

  test('of a connection makes a node lost, too', async () => {
    await using fixture = await Fixture.start('quote_interval: 1s');
    const session = await fixture.session(containerOf(1));
    await session.evidence();
    await session.next('node');
    assert.equal((await fixture.server.admin.getNode({ node: 'node-1' })).state, 'attested');
    session.close();
    await delay(7_500);
    assert.equal((await fixture.server.admin.getNode({ node: 'node-1' })).state, 'lost');
  });
});
