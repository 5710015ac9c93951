import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildNative } from '../../scripts/build-native.ts';
import { LacreError } from '../lacre-error.ts';
import { identifyCaller, PinnedPeer } from './caller.ts';
import { loadNative, type Native } from './native.ts';
import { Proc } from './proc.ts';

// Callers in real containers: container-watch.test.ts.
let native: Native;
let folder: string;
const ends: { destroy(): void }[] = [];

before(() => {
  buildNative();
  native = loadNative();
  folder = mkdtempSync(join(tmpdir(), 'lacre-caller-'));
});

after(() => {
  for (const end of ends) end.destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** Descriptor of an accepted connection from this process. */
async function ownConnection(): Promise<number> {
  const server = createServer().listen(join(folder, `s${ends.length}`));
  await once(server, 'listening');
  ends.push(connect(server.address() as string));
  const [socket] = (await once(server, 'connection')) as [Socket & { _handle: { fd: number } }];
  ends.push(socket);
  server.close();
  return socket._handle.fd;
}

const nowhere = { proc: new Proc(), refresh: () => Promise.reject(new Error('is not asked')) };

test('a process of the host is in no container', async () => {
  const peer = PinnedPeer.open(await ownConnection(), native);
  assert.deepEqual([peer.pid, peer.uid, peer.gid], [process.pid, process.getuid?.(), process.getgid?.()]);
  await assert.rejects(async () => identifyCaller(peer, nowhere), { code: 'agent.caller.not-in-container' });
  peer.close();
  await assert.rejects(async () => identifyCaller(peer, nowhere), { code: 'agent.caller.ended' });
  peer.close();
});

test('what is no socket, and what the kernel does not let the agent see, is told as such', async () => {
  assert.throws(() => PinnedPeer.open(0x7fff_ffff, native), {
    code: 'agent.caller.unreadable',
    message: /EBADF|descriptor/,
  });
  const peer = PinnedPeer.open(await ownConnection(), native);
  const blind = new Proc();
  blind.facts = () => {
    throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
  };
  await assert.rejects(async () => identifyCaller(peer, { ...nowhere, proc: blind }), {
    code: 'agent.caller.unreadable',
    message: /EACCES/,
  });
  const vanished = new Proc({ root: folder });
  await assert.rejects(async () => identifyCaller(peer, { ...nowhere, proc: vanished }), {
    code: 'agent.caller.ended',
  });
  peer.close();
});

/** A /proc in which this process is in a container. */
class Contained extends Proc {
  override facts(...of: Parameters<Proc['facts']>) {
    const owner = { engine: 'podman' as const, containerId: 'c'.repeat(64), path: `/libpod-${'c'.repeat(64)}` };
    return { ...super.facts(...of), owner };
  }
}

test('an engine that does not answer, or does not know the container', async () => {
  const peer = PinnedPeer.open(await ownConnection(), native);
  const down = new LacreError('agent.engine.unavailable', 'podman gave no answer within 5000 ms');
  const sources = { proc: new Contained(), refresh: () => Promise.reject(down) };
  await assert.rejects(async () => identifyCaller(peer, sources), {
    code: 'agent.caller.engine',
    message: /no answer within 5000 ms/,
  });
  const unknown = { ...sources, refresh: () => Promise.resolve(undefined) };
  await assert.rejects(async () => identifyCaller(peer, unknown), {
    code: 'agent.caller.engine',
    message: /cccccccccccc/,
  });
  peer.close();
});

test('what was read of a process that ended meanwhile is not taken: another may have had its pid', async () => {
  const peer = PinnedPeer.open(await ownConnection(), { ...native, isAlive: () => false });
  const proc = new Contained();
  const namespaces = proc.namespaces(process.pid);
  const container = { id: 'c'.repeat(64), initPid: process.pid, initStartTicks: 1n, namespaces, parents: new Map() };
  const found = { ...container, sha256: new Uint8Array(32) } as never;
  for (const refresh of [() => found, () => Promise.resolve(found)]) {
    await assert.rejects(async () => identifyCaller(peer, { proc, refresh }), { code: 'agent.caller.ended' });
  }
  peer.close();
});

test('a kernel without SO_PEERPIDFD: the pin is of the pid; one that has ended has none', async () => {
  const fd = await ownConnection();
  const failing = (code: string): Native => ({
    ...native,
    peerPidfd: () => {
      throw Object.assign(new Error(code), { code });
    },
  });
  const peer = PinnedPeer.open(fd, failing('ENOPROTOOPT'));
  peer.requireAlive();
  peer.close();
  for (const code of ['EINVAL', 'ESRCH']) {
    assert.throws(() => PinnedPeer.open(fd, failing(code)), { code: 'agent.caller.ended' }, code);
  }
});
