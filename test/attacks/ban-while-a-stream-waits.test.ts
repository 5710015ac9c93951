import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { connectServer } from '../../src/agent/connection.ts';
import { type AttestRequest, AttestRequestSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import { codeOf, Fixture } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A node that expects to be banned (A2) keeps a stream open that has said no hello. It says it after the ban.

const skip = skipWithoutSoftwareTpm();

async function* late(fixture: Fixture, go: Promise<void>): AsyncGenerator<AttestRequest> {
  await go;
  const value = { agentVersion: 'test', eventLog: await fixture.node.eventLog() };
  yield create(AttestRequestSchema, { message: { case: 'hello', value } });
  await delay(2_000, undefined, { ref: false });
}

async function firstAnswer(fixture: Fixture, act: () => Promise<unknown>): Promise<string | undefined> {
  const { node, server, identity } = fixture;
  const connection = await connectServer({ ...(await node.place(server)), identity });
  const go = Promise.withResolvers<void>();
  const answers = connection.client.attest(late(fixture, go.promise))[Symbol.asyncIterator]();
  const first = answers.next();
  first.catch(() => undefined);
  await delay(100);
  await act();
  go.resolve();
  try {
    return (await first).value?.message.case;
  } finally {
    connection.close();
  }
}

test('a hello that comes late opens a session', { skip }, async () => {
  await using fixture = await Fixture.start();
  assert.equal(await firstAnswer(fixture, async () => undefined), 'open');
});

test('a hello that comes after the ban opens none', { skip }, async () => {
  await using fixture = await Fixture.start();
  const ban = () =>
    fixture.server.agents.banAgent({
      id: { trustDomain: 'lacre.test', path: fixture.node.spiffeId.slice('spiffe://lacre.test'.length) },
    });
  await assert.rejects(firstAnswer(fixture, ban), (error) => {
    // The ban took the SVID, too.
    assert.equal(codeOf(error), 'server.node.unauthenticated', String(error));
    assert.match(String(error), /was withdrawn/);
    return true;
  });
});
