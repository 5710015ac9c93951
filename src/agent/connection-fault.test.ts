import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { LacreError } from '../lacre-error.ts';
import { Node, RefusalSchema } from '../proto/lacre/v1/node_pb.ts';
import { faultOfCall, findingsText } from './connection-fault.ts';

let folder: string;
let said: ConnectError;
const adapter = connectNodeAdapter({
  routes: (router) => {
    router.service(Node, {
      // biome-ignore lint/correctness/useYield: the call ends with an error at once
      async *enrol() {
        throw said;
      },
      // biome-ignore lint/correctness/useYield: the call ends with an error at once
      async *attest() {
        throw said;
      },
    });
  },
});
const listener = createServer(adapter);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-fault-'));
  listener.listen(join(folder, 'socket'));
  await once(listener, 'listening');
});

after(async () => {
  listener.close();
  await rm(folder, { recursive: true });
});

/** What an agent makes of a call that the server ends so: over a real connection, as trailers come. */
async function faultOver(error: ConnectError): Promise<LacreError> {
  said = error;
  const options = { createConnection: () => connect(join(folder, 'socket')) };
  const sessionManager = new Http2SessionManager('http://localhost', {}, options);
  const client = createClient(Node, createGrpcTransport({ baseUrl: 'http://localhost', sessionManager }));
  try {
    for await (const _ of client.attest((async function* () {})())) assert.fail('an answer');
    assert.fail('the call ended well');
  } catch (fault) {
    return faultOfCall(fault);
  } finally {
    sessionManager.abort();
  }
}

const finding = { code: 'host.file.changed', subject: 'rack3-12', path: '/usr/bin/sh', detail: 'no reference value' };

test('a refusal is told with the code and the sentence of the server, and with its findings', async () => {
  const refusal = create(RefusalSchema, {
    sentence: 'the host is not trusted',
    verdict: { findings: [finding, finding, finding, finding] },
  });
  const fault = await faultOver(
    new ConnectError('short', Code.PermissionDenied, { 'lacre-code': 'server.evidence.refused' }, [
      { desc: RefusalSchema, value: refusal },
    ]),
  );
  assert.equal(fault.code, 'agent.server.refused');
  assert.deepEqual(fault.details, { serverCode: 'server.evidence.refused', status: 'PermissionDenied' });
  assert.match(fault.message, /^the server ended the call: the host is not trusted \[host\.file\.changed rack3-12/);
  assert.match(fault.message, /and 1 more\]$/);
});

for (const code of [Code.Unavailable, Code.Aborted, Code.DeadlineExceeded]) {
  test(`${Code[code]} is no fault of the node: the session is lost`, async () => {
    const fault = await faultOver(new ConnectError('later', code, { 'lacre-code': 'server.stopping' }));
    assert.equal(fault.code, 'agent.session.lost');
    assert.equal(fault.details['serverCode'], 'server.stopping');
  });
}

test('what a server says without measure is cut', async () => {
  const fault = await faultOver(new ConnectError('x'.repeat(10_000), Code.PermissionDenied));
  assert.equal(fault.code, 'agent.server.refused');
  assert.ok(fault.message.length < 2_100, `${fault.message.length} characters`);
  assert.equal(findingsText(undefined), '');
});

test('an error of the agent itself stays what it is', () => {
  const own = new LacreError('agent.protocol', 'out of order');
  assert.equal(faultOfCall(own), own);
  assert.equal(faultOfCall(new ConnectError('wrapped', Code.Internal, {}, [], own)), own);
});
