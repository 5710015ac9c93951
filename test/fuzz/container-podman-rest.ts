import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PodmanRest } from '../../src/agent/podman-rest.ts';
import { bytesOf, type FuzzTarget } from './engine/target.ts';

const ID = 'a'.repeat(64);
const folder = mkdtempSync(join(tmpdir(), 'lacre-fuzz-'));
const socket = join(folder, 'podman.sock');
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const listed = JSON.stringify([{ Id: ID, Pid: 17 }]);
const inspected = JSON.stringify({
  Id: ID,
  Name: 'web',
  Image: 'b'.repeat(64),
  ImageDigest: `sha256:${'c'.repeat(64)}`,
  ImageName: 'x:1',
  OCIConfigPath: join(import.meta.dirname, '../../vectors/container/podman-6.1-web1.config.json'),
  State: { Pid: 17 },
  Config: { Labels: { team: 'x' } },
});

let server: Server | undefined;
let bodies: readonly [string | Uint8Array, string | Uint8Array] = [listed, inspected];

async function serve(): Promise<void> {
  if (server !== undefined) return;
  server = createServer((request, response) => {
    if (request.url?.includes('/images/')) response.end('{}');
    else response.end(request.url?.includes(ID) === true ? bodies[1] : bodies[0]);
  }).unref();
  await new Promise<void>((resolve) => server?.listen(socket, resolve));
  server.unref();
}

/** podman's answers: the first byte says whether the rest is the list, or what is said of one container. */
export const target: FuzzTarget = {
  parsers: ['src/agent/podman-rest.ts#list'],
  seeds: () => [Uint8Array.of(0, ...bytesOf(listed)), Uint8Array.of(1, ...bytesOf(inspected))],
  words: ['null', '[]', '{}', '"Id"', '"Pid"', '"Labels"', '"OCIConfigPath"', '"__proto__"', ID],
  maxBytes: 256 * 1024,
  fastMs: 100,
  run: async (bytes) => {
    await serve();
    const body = bytes.subarray(1);
    bodies = bytes[0] === 0 ? [body, inspected] : [listed, body];
    return new PodmanRest({ storage: folder, run: folder, socket }).list();
  },
};
