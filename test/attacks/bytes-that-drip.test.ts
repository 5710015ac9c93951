import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { SessionLink } from '../../src/agent/session-link.ts';
import { serveWorkloadApi } from '../../src/agent/workload-api.ts';
import { pem } from '../../src/bytes/pem.ts';
import { CODE_TRAILER } from '../../src/grpc-status.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Connections that send a byte now and then, so that none ever falls silent and none ever gets anywhere: on the port of the nodes
// (A4), on the Workload API (A1), on the admin socket. Each holds its place for a bounded time, and nobody else waits for it.

const skip = skipWithoutSoftwareTpm();
const DRIP_MS = 250;
/** A limit is ten seconds; what comes after twice that is no limit. */
const BOUND_MS = 20_000;
/** A gRPC frame that announces 100 bytes. */
const FRAME = Buffer.concat([Buffer.from([0, 0, 0, 0, 100]), Buffer.alloc(100)]);
/** What begins a TLS handshake: a record of 512 bytes. */
const CLIENT_HELLO = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), Buffer.alloc(500)]);
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Sends one byte after another, until the other side has enough. */
function drip(to: Socket | ClientHttp2Stream, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at < bytes.length && !to.destroyed) to.write(bytes.subarray(at, at + 1));
    at += 1;
  }, DRIP_MS);
  to.on('error', () => undefined);
  to.once('close', () => clearInterval(timer));
}

/** How long until it is closed by the other side, in ms. */
async function closedAfter(socket: Socket): Promise<number> {
  const started = performance.now();
  // Not `once`, which fails where a byte comes too late.
  await new Promise<void>((resolve) => socket.on('close', () => resolve()));
  return performance.now() - started;
}

/** The code with which a call ends whose message drips. */
function codeOfDrippingCall(session: ClientHttp2Session, path: string): Promise<string> {
  session.on('error', () => undefined);
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  });
  drip(stream, FRAME);
  return new Promise((resolve, reject) => {
    const read = (fields: Record<string, unknown>) => {
      if (fields[CODE_TRAILER] !== undefined) resolve(String(fields[CODE_TRAILER]));
    };
    stream.on('response', read);
    stream.on('trailers', read);
    stream.on('close', () => reject(new Error('it ended without a code')));
    setTimeout(() => reject(new Error('it was not ended')), BOUND_MS).unref();
  });
}

test('the port of the nodes, and the admin socket', { skip }, async (context) => {
  await using fixture = await Fixture.start();
  const { server, identity } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  const handshakes = Array.from({ length: 20 }, () => connect(server.port, '127.0.0.1'));
  for (const socket of handshakes) drip(socket, CLIENT_HELLO);
  const admins = Array.from({ length: 20 }, () => connect(join(server.directory, 'admin.sock')));
  for (const socket of admins) drip(socket, PREFACE);
  const closed = handshakes.map(closedAfter);
  const chain = identity.certificateChain.map((der) => pem('CERTIFICATE', der)).join('');
  const ca = (await server.bundle()).map((der) => pem('CERTIFICATE', der)).join('');
  const peer = { ca, cert: chain, key: identity.privateKeyPem, checkServerIdentity: () => undefined };
  const dripping = connectHttp2(`https://127.0.0.1:${server.port}`, peer);
  context.after(() => dripping.destroy());
  const code = codeOfDrippingCall(dripping, '/lacre.v1.Node/Attest');

  assert.equal((await session.ask(requestOf(container))).case, 'identities', 'an honest node is served meanwhile');
  assert.equal((await server.admin.listNodes({})).nodes.length, 1, 'and who administers it');
  assert.equal(await code, 'server.timeout', 'no hello in time');
  for (const afterMs of await Promise.all(closed)) assert.ok(afterMs < BOUND_MS, `a handshake of ${afterMs} ms`);
  for (const socket of admins) socket.destroy();
  session.close();
});

test('the Workload API', async (context) => {
  const path = await workloadApi(context);
  const open = () => {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(path) });
    context.after(() => session.destroy());
    return session;
  };
  const codes = Array.from({ length: 20 }, () => codeOfDrippingCall(open(), '/SpiffeWorkloadAPI/FetchX509SVID'));
  const other = open().request({
    ':method': 'POST',
    ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  });
  other.end(Buffer.alloc(5));
  const answered = new Promise((resolve) => {
    for (const event of ['response', 'trailers'] as const)
      other.on(event, (fields: Record<string, unknown>) => fields[CODE_TRAILER] && resolve(fields[CODE_TRAILER]));
  });
  assert.equal(await answered, 'agent.workload.unattested', 'who asks in one piece is answered at once');
  assert.deepEqual([...new Set(await Promise.all(codes))], ['agent.workload.message']);
});

/** The agent's, without a server: nobody has an identity, and everybody has an answer. */
async function workloadApi(context: TestContext): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-drip-'));
  const path = join(folder, 'workload.sock');
  const link = new SessionLink({ bundle: () => undefined, verdict: () => undefined });
  const caller = {
    uid: 0,
    close: () => undefined,
    requireAlive: () => undefined,
    record: () => Promise.reject(new Error('nobody asks')),
  };
  const deps = { path, trustDomain: 'lacre.test', link, log: pino({ level: 'silent' }) };
  const api = await serveWorkloadApi({ ...deps, pinCaller: () => caller as never });
  context.after(async () => {
    link.stop();
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return path;
}
