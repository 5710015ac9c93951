import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { buildNative } from '../../scripts/build-native.ts';
import { loadNative } from '../agent/native.ts';
import { Health, HealthCheckResponse_ServingStatus } from '../proto/grpc/health/v1/health_pb.ts';
import { UnixClient } from '../unix-client.ts';
import { statusOfCall } from './plugin-status.ts';
import { peerCheck, uidOf } from './trusted-peer.ts';

const FOREIGN_UID = 54_321;
/** Listens, says so, and tells of every byte that it is sent; ends with its standard input. */
const LISTENER = `process.stdin.resume().on('end', () => process.exit());
const { createServer } = require('node:net');
createServer((socket) => {
  socket.on('data', (bytes) => console.log('sent ' + bytes.length));
  socket.on('close', () => console.log('closed'));
  socket.on('error', () => {});
}).listen(process.argv[1], () => console.log('listening'));`;

buildNative();
const native = loadNative();
const isRoot = process.getuid?.() === 0;

function folderOf(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-peer-'));
  chmodSync(folder, 0o777);
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('a socket of this user serves', async (context) => {
  const path = join(folderOf(context), 'own.sock');
  const server = createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(Health, { check: () => ({ status: HealthCheckResponse_ServingStatus.SERVING }) }),
    }),
  ).listen(path);
  await once(server, 'listening');
  using client = new UnixClient(path, peerCheck(native, path, [], ''));
  const { status } = await client.service(Health).check({});
  assert.equal(status, HealthCheckResponse_ServingStatus.SERVING);
  client[Symbol.dispose]();
  server.close();
});

test('a socket of another user is sent nothing, unless the configuration names him', {
  skip: isRoot ? false : 'only root starts processes of another user',
}, async (context) => {
  const path = join(folderOf(context), 'foreign.sock');
  const listener = spawn(process.execPath, ['-e', LISTENER, path], { uid: FOREIGN_UID, gid: FOREIGN_UID });
  context.after(() => listener.stdin.end());
  const lines: string[] = [];
  listener.stdout.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trim().split('\n')));
  const until = async (line: string) => {
    while (!lines.includes(line)) await once(listener.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
  };
  await until('listening');

  for (let tries = 0; tries < 2; tries += 1) {
    using client = new UnixClient(path, peerCheck(native, path, [], 'verifier_user names him'));
    const error = await client.service(Health).check({}, { timeoutMs: 5_000 }).catch(statusOfCall);
    assert.ok(error instanceof ConnectError);
    assert.equal(Code[error.code], 'PermissionDenied', error.message);
    assert.match(error.rawMessage, /^user 54321 listens on .*foreign\.sock, .*: verifier_user names him$/);
    assert.ok([...error.metadata.values()].includes('spire.peer.foreign'));
  }
  await until('closed');
  assert.deepEqual(
    lines.filter((line) => line.startsWith('sent')),
    [],
  );

  using named = new UnixClient(path, peerCheck(native, path, [FOREIGN_UID], ''));
  const call = named.service(Health).check({}, { timeoutMs: 5_000 });
  call.catch(() => undefined);
  while (!lines.some((line) => line.startsWith('sent')))
    await once(listener.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
});

test('where nobody listens, the error says so', async () => {
  using client = new UnixClient('/nowhere/verifier.sock', peerCheck(native, '/nowhere/verifier.sock', [], ''));
  const error = await client.service(Health).check({}, { timeoutMs: 5_000 }).catch(statusOfCall);
  assert.ok(error instanceof ConnectError);
  assert.match(error.rawMessage, /does not answer: ENOENT$/);
});

test('a listener in a pid namespace of its own is known by its user', {
  skip: isRoot ? false : 'only root makes pid namespaces',
}, async (context) => {
  const path = join(folderOf(context), 'namespaced.sock');
  const args = ['-p', '-f', '--setuid', String(FOREIGN_UID), process.execPath, '-e', LISTENER, path];
  const listener = spawn('unshare', args);
  context.after(async () => {
    const ended = once(listener, 'exit');
    listener.stdin.end();
    await ended;
  });
  await once(listener.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
  using client = new UnixClient(path, peerCheck(native, path, [], ''));
  await assert.rejects(client.service(Health).check({}, { timeoutMs: 5_000 }), /user 54321 listens/);
});

test('a user by number or name', (context) => {
  const passwd = join(folderOf(context), 'passwd');
  writeFileSync(passwd, 'root:x:0:0::/:/bin/sh\nlacre-x:x:7:7::/:\nlacre:x:998:998::/:/bin/false\nodd:x::\n');
  assert.equal(uidOf('verifier_user', '1000', passwd), 1000);
  assert.equal(uidOf('verifier_user', 'lacre', passwd), 998);
  for (const user of ['nobody', 'lacr', 'odd', '99999999999'])
    assert.throws(() => uidOf('verifier_user', user, passwd), { code: 'spire.config.invalid', message: /no user/ });
});
