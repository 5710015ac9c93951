import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { BED_IMAGE, bedMissing, makePodmanBed, type PodmanBed } from '../agent/podman-bed.ts';
import { stopContainer } from './container-stop.ts';

const ID = 'ab'.repeat(32);
const SLEEPS = `#include <signal.h>
#include <unistd.h>
int main(void) { signal(SIGTERM, SIG_IGN); for (;;) pause(); }
`;

/** An engine's socket where this answers. */
async function engine(context: TestContext, listener: RequestListener): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-stop-'));
  const socket = join(folder, 'engine.sock');
  const server = createServer(listener).listen(socket);
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return socket;
}

test('the socket is asked for one stop of one container, with a second of grace', async (context) => {
  const seen: string[] = [];
  const socket = await engine(context, (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.writeHead(seen.length === 1 ? 204 : 304).end();
  });
  await stopContainer({ socket, podman: '/nowhere' }, ID);
  await stopContainer({ socket, podman: '/nowhere' }, ID);
  const call = `POST /v4.0.0/libpod/containers/${ID}/stop?timeout=1`;
  assert.deepEqual(seen, [call, call]);
});

test('an engine that fails, hangs or is absent is one clear error', async (context) => {
  const failing = await engine(context, (_, response) => response.writeHead(500).end('{"message":"no"}'));
  await assert.rejects(stopContainer({ socket: failing, podman: '' }, ID), /podman answers 500/);
  const hanging = await engine(context, () => undefined);
  await assert.rejects(stopContainer({ socket: hanging, podman: '', timeoutMs: 200 }, ID), /no answer in 200 ms/);
  const endless = await engine(
    context,
    (_, response) => void response.writeHead(204, { 'content-length': 9 }).write('x'),
  );
  await assert.rejects(
    stopContainer({ socket: endless, podman: '', timeoutMs: 200 }, ID),
    /no answer in 200 ms|aborted/,
  );
  await assert.rejects(stopContainer({ socket: '/nowhere/engine.sock', podman: '' }, ID), /ENOENT/);
});

test('what is no id never reaches the engine', async (context) => {
  let calls = 0;
  const socket = await engine(context, (_, response) => {
    calls += 1;
    response.writeHead(204).end();
  });
  for (const id of ['', '../../images/prune', `${ID}?x`, `-${ID}`, ID.slice(1), '--all'])
    await assert.rejects(stopContainer({ socket, podman: '/bin/true' }, id), /no container's id/);
  assert.equal(calls, 0);
});

test("the command's own words are told when it fails, hangs or is absent", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-stop-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const command = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/sh\n${text}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const socket = undefined;
  await stopContainer({ socket, podman: command('good', `[ "$*" = "stop --time 1 ${ID}" ]`) }, ID);
  const failing = command('bad', 'echo "no such container" >&2; exit 125');
  await assert.rejects(stopContainer({ socket, podman: failing }, ID), /podman stop failed: no such container/);
  const hanging = command('hangs', 'exec sleep 60');
  await assert.rejects(stopContainer({ socket, podman: hanging, timeoutMs: 200 }, ID), /podman stop failed/);
  await assert.rejects(stopContainer({ socket, podman: join(folder, 'none') }, ID), /ENOENT/);
});

const missing = bedMissing();
describe('a real podman stops a container, and keeps it', {
  skip: missing === undefined ? false : missing,
  concurrency: false,
}, () => {
  let bed: PodmanBed;
  let socket: string;

  before(async () => {
    bed = await makePodmanBed(SLEEPS);
    socket = join(bed.folder, 'podman.sock');
    await bed.serve(socket);
  });

  after(() => bed?.close());

  const stateOf = (id: string) => bed.podman('inspect', '--format', '{{.State.Status}}', id).trim();

  for (const by of ['socket', 'command'] as const) {
    test(`by its ${by}: that one, although it ignores SIGTERM, and no other`, { timeout: 60_000 }, async () => {
      const drifted = bed.run(`drifted-${by}`, 1, BED_IMAGE);
      const other = bed.run(`other-${by}`, 2, BED_IMAGE);
      const podman = join(bed.folder, 'podman-of-the-bed');
      writeFileSync(podman, `#!/bin/sh\nexec ${bed.command.join(' ')} "$@"\n`, { mode: 0o755 });
      const place = { socket: by === 'socket' ? socket : undefined, podman };
      await stopContainer(place, drifted);
      assert.equal(stateOf(drifted), 'exited', 'stopped, and kept: so its range is not handed out');
      assert.equal(stateOf(other), 'running');
      await stopContainer(place, drifted);
      bed.remove(drifted, other);
    });
  }

  test('one that it does not know', async () => {
    await assert.rejects(stopContainer({ socket, podman: '' }, ID), /podman answers 404/);
  });
});
