import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { connectServer } from '../../src/agent/connection.ts';
import { type EnrolRequest, EnrolRequestSchema } from '../../src/proto/lacre/v1/node_pb.ts';
import { codeOf, ScriptedNode, TestServer } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Anybody who reaches the port (A4) opens enrolments and says nothing, or begins one for a node whose endorsement key he
// has seen, and goes no further: so that no node gets the few places there are.

const skip = skipWithoutSoftwareTpm();

async function start() {
  const node = await ScriptedNode.boot();
  const server = await TestServer.start(node.tpm.rootPath, 'limits: { concurrent_enrolments: 3 }');
  await server.approve();
  await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
  const stack = new AsyncDisposableStack();
  stack.use(node);
  stack.use(server);
  return { node, server, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function* silence(hello?: EnrolRequest): AsyncGenerator<EnrolRequest> {
  if (hello !== undefined) yield hello;
  await delay(30_000, undefined, { ref: false });
}

test('silent streams take no place from a node', { skip }, async () => {
  await using bed = await start();
  const { node, server } = bed;
  const connection = await connectServer(await node.place(server));
  const streams = [1, 2, 3].map(() => connection.client.enrol(silence())[Symbol.asyncIterator]().next());
  for (const stream of streams) stream.catch(() => undefined);
  await delay(200);
  assert.equal((await node.enrol(server)).result.spiffeId, node.spiffeId);
  connection.close();
});

test('who only knows a node gets two of the three places at most', { skip }, async () => {
  await using bed = await start();
  const { node, server } = bed;
  const connection = await connectServer(await node.place(server));
  const hello = create(EnrolRequestSchema, { step: { case: 'hello', value: await node.hello() } });
  const calls = [1, 2, 3].map(() => connection.client.enrol(silence(hello))[Symbol.asyncIterator]().next());
  const codes = (await Promise.allSettled(calls)).map((answer) =>
    answer.status === 'rejected' ? codeOf(answer.reason) : answer.value.value?.step.case,
  );
  assert.deepEqual(codes.sort(), ['challenge', 'challenge', 'server.busy']);
  connection.close();
  await delay(100);
  assert.equal((await node.enrol(server)).result.spiffeId, node.spiffeId, 'the places come back');
});
