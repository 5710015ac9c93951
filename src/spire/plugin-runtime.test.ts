import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { buildNative } from '../../scripts/build-native.ts';
import { loadNative } from '../agent/native.ts';
import { LacreError } from '../lacre-error.ts';
import { Health } from '../proto/grpc/health/v1/health_pb.ts';
import { GRPCBroker } from '../proto/plugin/grpc_broker_pb.ts';
import { GRPCController } from '../proto/plugin/grpc_controller_pb.ts';
import { GRPCStdio } from '../proto/plugin/grpc_stdio_pb.ts';
import {
  AttestRequestSchema,
  AttestResponseSchema,
  WorkloadAttestor,
} from '../proto/spire/plugin/agent/workloadattestor/v1/workloadattestor_pb.ts';
import { Config } from '../proto/spire/service/common/config/v1/config_pb.ts';
import { Init } from '../proto/spire/service/private/init/v1/init_pb.ts';
import { openPluginLog } from './plugin-log.ts';
import { type Plugin, requireSpire, servePlugin, unimplemented } from './plugin-runtime.ts';
import { createWorkloadAttestor } from './workload-attestor.ts';

buildNative();
const native = loadNative();

interface Served {
  readonly path: string;
  readonly ended: Promise<void>;
  readonly log: string[];
}

/** A plugin, served in this process. */
async function serve(plugin: Plugin, peers = native): Promise<Served> {
  const log: string[] = [];
  const announced = Promise.withResolvers<string>();
  const options = { native: peers, log: openPluginLog((line) => log.push(line)), announce: announced.resolve };
  const ended = servePlugin(plugin, options);
  ended.catch(announced.reject);
  const line = await announced.promise;
  const [core, version, network, path, protocol, rest] = line.split('|');
  assert.deepEqual([core, version, network, protocol, rest], ['1', '1', 'unix', 'grpc', '\n']);
  return { path: path ?? '', ended, log };
}

function clientOf(path: string) {
  const sessions = new Http2SessionManager('http://plugin', {}, { createConnection: () => connect(path) });
  return { transport: createGrpcTransport({ baseUrl: 'http://plugin', sessionManager: sessions }), sessions };
}

function echo(seen: string[]): Plugin {
  return {
    type: 'WorkloadAttestor',
    service: WorkloadAttestor,
    routes: (router) =>
      router.service(WorkloadAttestor, {
        attestReference: () => unimplemented('not by reference'),
      }),
    plain: {
      path: '/spire.plugin.agent.workloadattestor.v1.WorkloadAttestor/Attest',
      answer: async (request) => {
        const { pid } = fromBinary(AttestRequestSchema, request);
        if (pid === 0) throw new LacreError('spire.workload.pid', 'no pid — none at all');
        if (pid === 1) throw new Error('a fault of its own');
        return toBinary(AttestResponseSchema, create(AttestResponseSchema, { selectorValues: [`pid:${pid}`] }));
      },
    },
    configure: async (trustDomain, text) => {
      if (text === 'broken') throw new TypeError('a secret of the inside');
      if (text === 'wrong') throw new LacreError('spire.config.invalid', 'plugin_data:1:1: wrong');
      seen.push(`configure ${trustDomain} ${text}`);
    },
    validate: async (_trustDomain, text) => (text === '' ? [] : ['one', 'two']),
    stop: async () => {
      seen.push('stop');
    },
  };
}

test('the calls of SPIRE, in its order, and the end by Shutdown', { timeout: 10_000 }, async () => {
  const seen: string[] = [];
  const { path, ended } = await serve(echo(seen));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
  const { transport, sessions } = clientOf(path);
  const core = { coreConfiguration: { trustDomain: 'lacre.test' } };
  const stop = new AbortController();
  const stdio = createClient(GRPCStdio, transport)
    .streamStdio({}, { signal: stop.signal })
    [Symbol.asyncIterator]()
    .next();
  const broker = createClient(GRPCBroker, transport);
  async function* connInfo() {
    yield { serviceId: 1, network: 'unix', address: '/nowhere' };
    await delay(60_000, undefined, { signal: stop.signal }).catch(() => undefined);
  }
  const brokered = broker.startStream(connInfo(), { signal: stop.signal })[Symbol.asyncIterator]().next();
  const { pluginServiceNames } = await createClient(Init, transport).init({ hostServiceNames: ['x'] });
  assert.deepEqual(pluginServiceNames, [
    'spire.plugin.agent.workloadattestor.v1.WorkloadAttestor',
    'spire.service.common.config.v1.Config',
  ]);
  const config = createClient(Config, transport);
  await config.configure({ ...core, hclConfiguration: 'a = 1' });
  assert.deepEqual(
    await config.validate({ ...core, hclConfiguration: 'x' }).then(({ valid, notes }) => [valid, notes]),
    [false, ['one', 'two']],
  );
  assert.equal((await config.validate({ ...core, hclConfiguration: '' })).valid, true);
  assert.equal((await createClient(Health, transport).check({ service: 'plugin' })).status, 1);
  const attestor = createClient(WorkloadAttestor, transport);
  assert.deepEqual((await attestor.attest({ pid: 7 })).selectorValues, ['pid:7']);
  await assertCode(attestor.attest({ pid: 0 }), Code.InvalidArgument, /no pid — none/);
  await assertCode(attestor.attest({ pid: 1 }), Code.Internal, /its log says why/);
  assert.equal(await Promise.race<unknown>([stdio, brokered, delay(50).then(() => 'open')]), 'open');
  await assertCode(attestor.attestReference({}), Code.Unimplemented, /not by reference/);
  await assertCode(config.configure({ ...core, hclConfiguration: 'wrong' }), Code.InvalidArgument, /1:1: wrong/);
  await assertCode(config.configure({ ...core, hclConfiguration: 'broken' }), Code.Internal, /its log says why/);
  await assertCode(config.configure({ hclConfiguration: '' }), Code.InvalidArgument, /trust domain/);
  await createClient(Init, transport).deinit({});
  stop.abort();
  await Promise.allSettled([stdio, brokered]);
  await createClient(GRPCController, transport).shutdown({});
  await ended;
  sessions.abort();
  assert.deepEqual(seen, ['configure lacre.test a = 1', 'stop', 'stop']);
  assert.equal(statSync(path, { throwIfNoEntry: false }), undefined);
});

test('when SPIRE is gone, the plugin ends', { timeout: 10_000 }, async () => {
  const { path, ended } = await serve(echo([]));
  const { transport, sessions } = clientOf(path);
  await createClient(Health, transport).check({ service: 'plugin' });
  sessions.abort();
  await ended;
});

test('bytes that are no HTTP/2, unknown methods, and another user: SPIRE is served on', {
  timeout: 10_000,
}, async () => {
  let foreign = false;
  const peers = {
    ...native,
    peerCredentials: (fd: number) => ({ ...native.peerCredentials(fd), ...(foreign ? { uid: 4242 } : {}) }),
  };
  const { path, ended, log } = await serve(echo([]), peers);
  const { transport, sessions } = clientOf(path);
  await createClient(Health, transport).check({ service: 'plugin' });
  const raw = connect(path).on('error', () => undefined);
  raw.write('GET / HTTP/1.1\r\n\r\n');
  await new Promise((resolve) => raw.once('close', resolve).resume());
  foreign = true;
  const other = connect(path).on('error', () => undefined);
  await new Promise((resolve) => other.once('close', resolve).resume());
  foreign = false;
  assert.match(log.join(''), /another user/);
  const unknown = '/spire.plugin.agent.keymanager.v1.KeyManager/GenerateKey';
  assert.equal((await statusOf(path, unknown, [Buffer.alloc(5)]))[0], '12');
  assert.equal((await createClient(Health, transport).check({ service: 'plugin' })).status, 1);
  await createClient(GRPCController, transport).shutdown({});
  await ended;
  sessions.abort();
});

test('a call of the plain method whose message is none, too long, or never comes', { timeout: 10_000 }, async () => {
  const { path, ended } = await serve(echo([]));
  const { transport, sessions } = clientOf(path);
  const attest = '/spire.plugin.agent.workloadattestor.v1.WorkloadAttestor/Attest';
  const frame = Buffer.from([0, 0, 0, 0, 2, 8, 7]);
  assert.deepEqual(await statusOf(path, attest, [frame]), ['0', '']);
  assert.deepEqual(
    await statusOf(
      path,
      attest,
      [...frame].map((byte) => Buffer.from([byte])),
    ),
    ['0', ''],
  );
  for (const [what, parts, sentence] of [
    ['nothing', [], /ended before its message/],
    ['half of one', [frame.subarray(0, 6)], /ended before its message/],
    ['compressed', [Buffer.from([1, 0, 0, 0, 2, 8, 7])], /compressed/],
    ['a length over the bound', [Buffer.from([0, 255, 255, 255, 255])], /longer than 4096/],
    ['two', [Buffer.concat([frame, frame])], /second message/],
  ] as const) {
    const [status, message = ''] = await statusOf(path, attest, parts);
    assert.equal(status, '3', what);
    assert.match(decodeURIComponent(message), sentence, what);
  }
  assert.equal((await createClient(WorkloadAttestor, transport).attest({ pid: 7 })).selectorValues[0], 'pid:7');
  await createClient(GRPCController, transport).shutdown({});
  await ended;
  sessions.abort();
});

test('without a configuration there are no verdicts', { timeout: 10_000 }, async () => {
  const { path, ended } = await serve(createWorkloadAttestor({ native, log: openPluginLog(() => undefined) }));
  const { transport, sessions } = clientOf(path);
  await assertCode(
    createClient(WorkloadAttestor, transport).attest({ pid: 1 }),
    Code.FailedPrecondition,
    /no configuration/,
  );
  const core = { coreConfiguration: { trustDomain: 'lacre.test' } };
  const wrong = createClient(Config, transport).configure({ ...core, hclConfiguration: 'x = 1' });
  await assertCode(wrong, Code.InvalidArgument, /3 faults.*x: there is no such key/);
  await createClient(GRPCController, transport).shutdown({});
  await ended;
  sessions.abort();
});

test('a folder that cannot be written to, and a start by somebody else', async () => {
  const before = process.env['PLUGIN_UNIX_SOCKET_DIR'];
  process.env['PLUGIN_UNIX_SOCKET_DIR'] = '/proc/1/nowhere';
  try {
    await assert.rejects(serve(echo([])), { code: 'spire.plugin.socket' });
  } finally {
    if (before === undefined) delete process.env['PLUGIN_UNIX_SOCKET_DIR'];
    else process.env['PLUGIN_UNIX_SOCKET_DIR'] = before;
  }
  requireSpire('NodeAttestor', { NodeAttestor: 'NodeAttestor' });
  assert.throws(() => requireSpire('NodeAttestor', { WorkloadAttestor: 'WorkloadAttestor' }), {
    code: 'spire.plugin.started',
  });
  const run = spawnSync(process.execPath, ['src/main.ts', 'spire', 'workload-attestor'], { encoding: 'utf8' });
  assert.equal(run.status, 2);
  assert.match(run.stderr, /this is a plugin of SPIRE/);
  assert.equal(run.stdout, '');
});

async function assertCode(call: Promise<unknown>, code: Code, message: RegExp): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, code, error.message);
    assert.match(error.rawMessage, message);
    return true;
  });
}

/** Status and message that a call ends with whose body comes in these parts. */
function statusOf(path: string, method: string, parts: readonly Uint8Array[]): Promise<[string, string]> {
  const session = connectHttp2('http://plugin', { createConnection: () => connect(path) });
  const headers = { ':method': 'POST', ':path': method, 'content-type': 'application/grpc', te: 'trailers' };
  return new Promise<[string, string]>((resolve, reject) => {
    const stream = session.request(headers);
    const told = (fields: { readonly [name: string]: unknown }) => {
      if (fields['grpc-status'] !== undefined)
        resolve([String(fields['grpc-status']), String(fields['grpc-message'] ?? '')]);
    };
    stream.on('response', told).on('trailers', told).on('error', reject);
    stream.resume();
    for (const part of parts) stream.write(part);
    stream.end();
  }).finally(() => session.destroy());
}

test('of two configurations at once the second waits for the first, and the end for both', {
  timeout: 10_000,
}, async () => {
  const seen: string[] = [];
  const slow: Plugin = {
    ...echo(seen),
    configure: async (_trustDomain, text) => {
      seen.push(`begin ${text}`);
      await delay(50);
      seen.push(`end ${text}`);
      if (text === 'a') throw new LacreError('spire.config.invalid', 'plugin_data:1:1: wrong');
    },
  };
  const { path, ended } = await serve(slow);
  const { transport, sessions } = clientOf(path);
  const config = createClient(Config, transport);
  const coreConfiguration = { trustDomain: 'a.test' };
  const first = config.configure({ coreConfiguration, hclConfiguration: 'a' }).catch(() => undefined);
  await delay(10);
  const second = config.configure({ coreConfiguration, hclConfiguration: 'b' });
  await delay(10);
  await Promise.all([first, second, createClient(Init, transport).deinit({})]);
  assert.deepEqual(seen, ['begin a', 'end a', 'begin b', 'end b', 'stop']);
  await createClient(GRPCController, transport).shutdown({});
  sessions.abort();
  await ended;
});
