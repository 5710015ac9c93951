import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { listenOnSocket } from './server-socket.ts';
import { startSocketListener } from './server-socket-listener.ts';

function place(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-socket-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function server(context: TestContext): Server {
  const made = createServer((socket) => socket.end());
  context.after(() => made.close());
  return made;
}

test('the socket is 0600 in a folder made with 0700, whatever the mask is', async (context) => {
  const path = join(place(context), 'new', 'admin.sock');
  const mask = process.umask(0);
  try {
    await listenOnSocket(server(context), path);
    assert.equal(process.umask(), 0, 'the mask is as it was');
  } finally {
    process.umask(mask);
  }
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
});

test('a socket for a group: its members get through the folder to it, and nobody else', {
  skip: process.getuid?.() === 0 ? false : 'giving a file to another group needs root',
}, async (context) => {
  const folder = place(context);
  chmodSync(folder, 0o755);
  const path = join(folder, 'verifier', 'verifier.sock');
  await listenOnSocket(server(context), path, '4343');
  const { mode, gid } = statSync(path);
  assert.deepEqual([mode & 0o777, gid], [0o660, 4343]);
  assert.deepEqual([statSync(join(path, '..')).mode & 0o777, statSync(join(path, '..')).gid], [0o750, 4343]);
  const script = `require('net').connect(${JSON.stringify(path)}).on('connect', () => process.exit(0)).on('error', (e) => process.exit(e.code === 'EACCES' ? 13 : 1))`;
  const asUser = async (gid: number) =>
    (await once(spawn(process.execPath, ['-e', script], { stdio: 'ignore', uid: 4242, gid }), 'close'))[0];
  assert.equal(await asUser(4343), 0);
  assert.equal(await asUser(4242), 13);
});

test('a group that is none is told', async (context) => {
  const path = join(place(context), 'a.sock');
  await assert.rejects(listenOnSocket(server(context), path, 'nobody-has-this'), (error) =>
    isLacreError(error, 'server.socket.failed'),
  );
  assert.equal(existsSync(path), false);
});

test('a socket on which somebody answers is left alone', async (context) => {
  const path = join(place(context), 'admin.sock');
  await listenOnSocket(server(context), path);
  await assert.rejects(listenOnSocket(server(context), path), (error) => isLacreError(error, 'server.socket.busy'));
  assert.ok(existsSync(path));
});

test('a socket that a killed server left is replaced', async (context) => {
  const path = join(place(context), 'admin.sock');
  const code = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', code], { stdio: 'ignore' }), 'close');
  assert.ok(existsSync(path), 'the dead server left its socket');
  await listenOnSocket(server(context), path);
});

test('anything else in its place, or a path that cannot be, is told', async (context) => {
  const folder = place(context);
  const file = join(folder, 'file');
  writeFileSync(file, 'mine');
  const failed = (error: unknown) => isLacreError(error, 'server.socket.failed');
  await assert.rejects(listenOnSocket(server(context), file), failed);
  assert.ok(existsSync(file));
  await assert.rejects(listenOnSocket(server(context), join(file, 'below', 'a.sock')), failed);
  await assert.rejects(listenOnSocket(server(context), join(folder, 'x'.repeat(120))), failed);
});

test('a connection that only drips bytes ends when it has had no stream for too long', async (context) => {
  const listener = await startSocketListener({ socket: join(place(context), 'admin.sock') }, [], {
    pingMs: 10_000,
    idleMs: 200,
  });
  context.after(() => listener.close());
  const socket = connect(listener.socket);
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  let sent = 0;
  const timer = setInterval(() => {
    sent += 1;
    if (sent <= preface.length && !socket.destroyed) socket.write(preface.subarray(sent - 1, sent));
  }, 50);
  socket.on('error', () => undefined);
  // Not `once`, which fails where a byte comes too late.
  await new Promise<void>((resolve) => socket.on('close', () => resolve()));
  clearInterval(timer);
  assert.ok(sent > 0);
});
