import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { ControlChannel } from './control-channel.ts';

const NEVER = new AbortController().signal;
const READY = 'r';

let folder: string;
let path: string;
let listener: Server;
let peers: Socket[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-channel-'));
  path = join(folder, 'control.sock');
  peers = [];
  listener = createServer((socket) => {
    socket.on('error', () => undefined);
    peers.push(socket);
  });
  listener.listen(path);
  await once(listener, 'listening');
});

afterEach(async () => {
  for (const peer of peers) peer.destroy();
  if (listener.listening) await new Promise((resolve) => listener.close(resolve));
  await rm(folder, { recursive: true });
});

/** The other end: says that it is up, and gives each request, as (id, kind, payload), to `answer`. */
async function openChannel(answer: (peer: Socket, id: number, kind: string, payload: Buffer) => void) {
  const opened = ControlChannel.open(path, 5_000, NEVER);
  await once(listener, 'connection');
  const [peer] = peers;
  assert.ok(peer);
  peer.write(frame(0, READY, Buffer.alloc(0)));
  peer.on('data', (bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32BE(at)) {
      const end = at + 4 + bytes.readUInt32BE(at);
      answer(peer, bytes.readUInt32BE(at + 4), bytes.toString('latin1', at + 8, at + 9), bytes.subarray(at + 9, end));
    }
  });
  return { channel: await opened, peer };
}

function frame(id: number, kind: string, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt32BE(5 + payload.length);
  head.writeUInt32BE(id, 4);
  head.write(kind, 8, 'latin1');
  return Buffer.concat([head, payload]);
}

/** The result of a program, as lab-init.c sends it. */
function result(id: number, status: number, output: string, errors: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(status);
  head.writeUInt32BE(Buffer.byteLength(output), 4);
  return frame(id, 'r', Buffer.concat([head, Buffer.from(output), Buffer.from(errors)]));
}

test('a command of the node: its arguments go in, status and both outputs come out, however the bytes are cut', async () => {
  const asked: string[] = [];
  const { channel } = await openChannel((peer, id, kind, payload) => {
    asked.push(kind, payload.toString('utf8', 4));
    for (const byte of result(id, 0, 'uid=0\n', 'warned')) peer.write(Uint8Array.of(byte));
  });
  assert.deepEqual(await channel.run(['/bin/id', '-u']), { status: 0, output: 'uid=0\n', errors: 'warned' });
  assert.deepEqual(asked, ['R', '/bin/id\0-u\0']);
  channel.close();
});

test('a command that fails in the node is a fault with what it said', async () => {
  const { channel } = await openChannel((peer, id) => peer.write(result(id, 125, '', 'no such image\n')));
  await assert.rejects(channel.must(['podman', 'start', 'orders']), {
    code: 'lab.node.command',
    message: 'in the node: podman start orders failed (125): no such image',
  });
  channel.close();
});

test('what process 1 refuses is a fault with its sentence', async () => {
  const { channel } = await openChannel((peer, id) => peer.write(frame(id, 'e', Buffer.from('open: no such file'))));
  await assert.rejects(channel.readFile('/absent'), {
    code: 'lab.node.command',
    message: 'in the node: open: no such file',
  });
  channel.close();
});

test('a machine that ends fails whatever waits for it, the end of a started program too', async () => {
  const started = frame(1, 'r', Buffer.from([0, 0, 0, 42]));
  const { channel, peer } = await openChannel((socket, id) => {
    if (id === 1) socket.write(started);
  });
  const program = await channel.start(['/bin/agent'], { uid: 1, capabilities: [], log: '/log' });
  assert.equal(program.pid, 42);
  const waiting = [assert.rejects(channel.run(['/bin/true']), { code: 'lab.machine.gone' })];
  waiting.push(assert.rejects(program.ended, { code: 'lab.machine.gone' }));
  peer.destroy();
  await Promise.all(waiting);
});

test('a machine that ends before it is up', async () => {
  const opened = assert.rejects(ControlChannel.open(path, 5_000, NEVER), { code: 'lab.machine.gone' });
  await once(listener, 'connection');
  peers[0]?.destroy();
  await opened;
});

test('a machine that never made its socket', async () => {
  await assert.rejects(ControlChannel.open(join(folder, 'absent.sock'), 5_000, NEVER), {
    code: 'lab.machine.gone',
    message: 'the machine did not start',
  });
});

test('a length that nothing sent by the node has ends the channel', async () => {
  const { channel, peer } = await openChannel(() => undefined);
  const waiting = assert.rejects(channel.run(['/bin/true']), { code: 'lab.machine.gone' });
  peer.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  await waiting;
});

test('a node that stays silent is given up in time', async () => {
  await assert.rejects(ControlChannel.open(path, 300, NEVER), {
    code: 'lab.machine.silent',
    message: /within 0\.3 s/,
  });
});
