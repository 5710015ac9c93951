import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect } from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { verifyX509Svid } from '../identity/x509-svid.ts';
import { isLacreError } from '../lacre-error.ts';
import { openLog } from '../log.ts';
import { Health } from '../proto/grpc/health/v1/health_pb.ts';
import { Bundle } from '../proto/spire/api/server/bundle/v1/bundle_pb.ts';
import { Entry } from '../proto/spire/api/server/entry/v1/entry_pb.ts';
import { parseConfig, type ServerConfig } from './config.ts';
import { type RunningServer, startServer } from './server.ts';

const log = openLog({ level: 'silent', format: 'json' });

function configuration(context: TestContext, listen = '127.0.0.1:0'): ServerConfig {
  const folder = mkdtempSync(join(tmpdir(), 'lacre-server-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return parseConfig('t.yaml', configText(folder, listen));
}

function configText(folder: string, listen = '127.0.0.1:0'): string {
  const lines = ['trust_domain: lab.example', `listen: ${listen}`, `data_dir: ${folder}/data`];
  return [...lines, `admin: { socket: ${folder}/run/admin.sock }`].join('\n');
}

async function started(context: TestContext, config: ServerConfig): Promise<RunningServer> {
  const server = await startServer(config, { log });
  context.after(() => server.close());
  return server;
}

function admin(context: TestContext, socket: string) {
  const sessionManager = new Http2SessionManager(
    'http://localhost',
    {},
    { createConnection: () => createConnection(socket) },
  );
  context.after(() => sessionManager.abort());
  return createGrpcTransport({ baseUrl: 'http://localhost', sessionManager });
}

test('a server answers on both sides, and its certificate is its SVID', async (context) => {
  const server = await started(context, configuration(context));
  const transport = admin(context, server.adminSocket);
  assert.equal((await createClient(Health, transport).check({})).status, 1);
  const { x509Authorities } = await createClient(Bundle, transport).getBundle({});
  const socket = connect({
    host: '127.0.0.1',
    port: server.address.port,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  const chain = [new Uint8Array(socket.getPeerCertificate().raw)];
  const svid = verifyX509Svid({ chain, bundle: x509Authorities.map(({ asn1 }) => asn1), now: new Date() });
  assert.equal(svid.spiffeId.uri, 'spiffe://lab.example/spire/server');
  socket.destroy();
});

test('a second server on the same folder, socket or port is refused, and harms the first in nothing', async (context) => {
  const first = configuration(context);
  const server = await started(context, first);
  const busy = (what: RegExp) => (error: unknown) =>
    isLacreError(error, 'server.store.busy', 'server.socket.busy') && what.test(error.message);
  await assert.rejects(startServer(first, { log }), busy(/data_dir/));
  const other = configuration(context);
  await assert.rejects(startServer({ ...other, admin: first.admin }, { log }), busy(/admin\.sock/));
  const taken = { ...other, listen: { host: '127.0.0.1', port: server.address.port } };
  await assert.rejects(startServer(taken, { log }), busy(/another program listens/));
  assert.ok(!existsSync(other.admin.socket), 'what was started is closed again');
  assert.equal((await createClient(Health, admin(context, server.adminSocket)).check({})).status, 1);
  await started(context, other);
});

test('closing ends everything: socket, port and lock are free again', async (context) => {
  const config = configuration(context);
  const server = await startServer(config, { log });
  const held = createConnection(server.address.port, '127.0.0.1');
  held.on('error', () => undefined);
  await once(held, 'connect');
  const began = performance.now();
  await server.close();
  assert.ok(performance.now() - began < 5000, 'a connection that never speaks does not hold it up');
  assert.ok(!existsSync(server.adminSocket));
  const port = createServer().listen(server.address.port, '127.0.0.1');
  await once(port, 'listening');
  assert.equal((port.address() as AddressInfo).port, server.address.port);
  port.close();
  held.destroy();
  await (await startServer(config, { log })).close();
});

test('an endorsement root that cannot be read stops the start with its name', async (context) => {
  const config = configuration(context);
  const roots = [{ path: join(config.dataDir, 'no-such-root.pem'), tier: 'software' as const }];
  await assert.rejects(
    startServer({ ...config, endorsement: { ...config.endorsement, roots } }, { log }),
    (error) => isLacreError(error) && error.message.includes('no-such-root.pem'),
  );
});

test('kill -9: the next server finds bundle and entries as they were', { timeout: 60_000 }, async (context) => {
  const config = configuration(context);
  const folder = join(config.dataDir, '..');
  const script = join(folder, 'serve.mjs');
  const module = (name: string) => JSON.stringify(join(import.meta.dirname, name));
  const code = `import { parseConfig } from ${module('config.ts')}; import { startServer } from ${module('server.ts')};
    await startServer(parseConfig('t.yaml', ${JSON.stringify(configText(folder))})); console.log('ready');`;
  writeFileSync(script, code);
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'ignore'] });
  context.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const transport = admin(context, config.admin.socket);
  const { results } = await createClient(Entry, transport).batchCreateEntry({
    entries: [
      {
        spiffeId: { trustDomain: 'lab.example', path: '/a' },
        parentId: { trustDomain: 'lab.example', path: '/n' },
        selectors: [{ type: 'unix', value: 'uid:1' }],
      },
    ],
  });
  assert.equal(results[0]?.status?.code, 0);
  const before = await createClient(Bundle, transport).getBundle({});
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.ok(existsSync(config.admin.socket), 'the dead server left its socket');
  const server = await started(context, config);
  const again = admin(context, server.adminSocket);
  assert.deepEqual((await createClient(Bundle, again).getBundle({})).x509Authorities, before.x509Authorities);
  assert.equal((await createClient(Entry, again).countEntries({})).count, 1);
});
