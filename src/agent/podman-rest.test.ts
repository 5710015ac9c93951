import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ContainerWatch } from './container-watch.ts';
import { PodmanRest } from './podman-rest.ts';
import { Proc } from './proc.ts';

// The real service of podman: container-watch.test.ts. Here are those that misbehave.
let folder: string;
let count = 0;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'lacre-rest-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

async function answering(listener: RequestListener): Promise<{ server: Server; source: PodmanRest }> {
  count += 1;
  const socket = join(folder, `s${count}`);
  const server = createServer(listener).listen(socket);
  await once(server, 'listening');
  return { server, source: new PodmanRest({ storage: '/s', run: '/r', socket }, 300) };
}

async function refuses(listener: RequestListener, message: RegExp): Promise<void> {
  const { server, source } = await answering(listener);
  await assert.rejects(source.list(), { code: 'agent.engine.unavailable', message });
  server.closeAllConnections();
  server.close();
}

test('a service that is absent, hangs, fails, or answers nonsense, is one clear error', async () => {
  const absent = new PodmanRest({ storage: '/s', run: '/r', socket: join(folder, 'none') }, 300);
  await assert.rejects(absent.list(), { code: 'agent.engine.unavailable', message: /none.*ENOENT/ });
  await refuses(() => undefined, /no answer within 300 ms/);
  await refuses((_, response) => void response.writeHead(200).write('['), /no answer within 300 ms|aborted/);
  await refuses((_, response) => response.writeHead(500).end('x'), /answers 500/);
  await refuses((_, response) => response.end('{'), /not JSON/);
  await refuses((_, response) => response.end('[{"Id":1}]'), /Id is not a text/);
  await refuses((request) => request.socket.destroy(), /hang up|ECONNRESET|EPIPE/);
});

test('an answer without end is cut off', async () => {
  const block = Buffer.alloc(1024 * 1024, ' ');
  await refuses((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write(block));
      response.once('drain', more);
    };
    more();
  }, /longer than|no answer/);
});

test('a container that ends while it is asked about is left out', async () => {
  const listed = JSON.stringify([{ Id: 'a'.repeat(64), Pid: 1 }]);
  const { server, source } = await answering((request, response) => {
    if (request.url?.endsWith('/containers/json')) response.end(listed);
    else response.writeHead(404).end('{}');
  });
  assert.deepEqual(await source.list(), []);
  server.close();
});

test('a watch goes on while its engine hangs, and says so once', async () => {
  let asked = 0;
  const list = () => {
    asked += 1;
    return new Promise<never>(() => undefined);
  };
  const hanging = { name: 'an engine', list };
  const faults: unknown[] = [];
  const watch = new ContainerWatch({
    source: hanging,
    proc: new Proc(),
    intervalMs: 10,
    timeoutMs: 30,
    onFault: (fault) => faults.push(fault?.message),
  });
  await watch.start();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await assert.rejects(async () => watch.refresh('a'.repeat(64)), { code: 'agent.engine.unavailable' });
  assert.deepEqual(faults, ['an engine gave no answer within 30 ms']);
  assert.equal(asked, 1);
  await watch.stop();
});
