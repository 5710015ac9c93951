import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { create, fromBinary } from '@bufbuild/protobuf';
import { pino } from 'pino';
import { encodeFrame } from '../grpc-call.ts';
import { LacreError } from '../lacre-error.ts';
import { IdentitiesSchema, type NodeVerdict, RefusalSchema, WithdrawalSchema } from '../proto/lacre/v1/node_pb.ts';
import { X509BundlesResponseSchema, X509SVIDResponseSchema } from '../proto/spiffe/workload_pb.ts';
import type { Asked, BatchAsk, Outcome } from './batcher.ts';
import { SessionLink, type WorkloadSession } from './session-link.ts';
import { serveWorkloadApi, type WorkloadApi } from './workload-api.ts';
import { ConnectionCounter, WORKLOAD_LIMITS } from './workload-api-limits.ts';
import type { PinnedCaller } from './workload-connection.ts';

const LEAF = Uint8Array.of(0x30, 1);
const CA = Uint8Array.of(0x30, 2);
const BUNDLE = Uint8Array.of(0x30, 3);
const CALLER = { bytes: Uint8Array.of(1), containerId: 'c'.repeat(64), containerSha256Hex: 'd'.repeat(64) };
const SECURITY = { 'workload.spiffe.io': 'true' };
const silent = pino({ level: 'silent' });

/** A session whose server's answers the test writes; it keeps what was asked and released. */
class ScriptedSession implements WorkloadSession {
  readonly opened = { quoteIntervalMs: 100, bundle: [BUNDLE] };
  readonly asked: (BatchAsk & { readonly underQuote: boolean })[] = [];
  readonly released: bigint[] = [];
  answer: (ask: BatchAsk) => Outcome | Promise<Outcome> = identities(60_000);

  async ask(ask: BatchAsk, _container: string, options: { readonly underQuote?: boolean } = {}): Promise<Asked> {
    this.asked.push({ ...ask, underQuote: options.underQuote === true });
    return { id: BigInt(this.asked.length), outcome: (async () => this.answer(ask))() };
  }

  release(id: bigint): void {
    this.released.push(id);
  }
}

function identities(lifeMs: number): () => Outcome {
  return () => ({
    case: 'identities',
    value: create(IdentitiesSchema, {
      x509: [
        {
          spiffeId: 'spiffe://lacre.test/orders',
          certificateChain: [LEAF, CA],
          expiresAtUnixMs: BigInt(Date.now() + lifeMs),
          hint: 'internal',
        },
      ],
    }),
  });
}

function refusal(sentence: string, retry = false): Outcome {
  return { case: 'refusal', value: create(RefusalSchema, { code: 'appraisal.file.changed', sentence, retry }) };
}

let directory: string;
let path: string;
let link: SessionLink;
let session: ScriptedSession;
let api: WorkloadApi;
let recordFault: LacreError | undefined;
let pinned = 0;
let unpinned = 0;

function pinCaller(): PinnedCaller {
  pinned += 1;
  return {
    uid: 0,
    record: async () => {
      if (recordFault !== undefined) throw recordFault;
      return CALLER;
    },
    close: () => {
      unpinned += 1;
    },
  };
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lacre-api-'));
  path = join(directory, 'run', 'workload.sock');
  link = new SessionLink({ bundle: () => undefined, verdict: () => undefined });
  api = await serveWorkloadApi({ path, trustDomain: 'lacre.test', link, log: silent, pinCaller });
});

after(async () => {
  link.stop();
  await api.close();
  await rm(directory, { recursive: true });
});

beforeEach(async () => {
  await until(() => link.subscriberCount === 0, 'the streams of the last test are gone');
  recordFault = undefined;
  session = new ScriptedSession();
  link.attach(session);
  link.attested({} as NodeVerdict);
});

interface CallStatus {
  readonly code: string;
  readonly message: string;
  readonly lacreCode: string;
}

interface Call {
  readonly messages: Uint8Array[];
  /** Of the header or the trailer. */
  readonly status: Promise<CallStatus>;
  next(): Promise<Uint8Array>;
  cancel(): void;
}

function open(): ClientHttp2Session {
  const client = connectHttp2('http://localhost', { createConnection: () => connect(path) });
  client.on('error', () => undefined);
  return client;
}

/** One server-streaming call, by node:http2 itself. */
function call(
  client: ClientHttp2Session,
  method: string,
  headers: Record<string, string> = SECURITY,
  body = encodeFrame(new Uint8Array()),
): Call {
  const stream = client.request({
    ':method': 'POST',
    ':path': `/SpiffeWorkloadAPI/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  const messages: Uint8Array[] = [];
  const waiters: ((message: Uint8Array) => void)[] = [];
  let buffered = Buffer.alloc(0);
  stream.on('data', (bytes: Buffer) => {
    buffered = Buffer.concat([buffered, bytes]);
    while (buffered.length >= 5 && buffered.length >= 5 + buffered.readUInt32BE(1)) {
      const end = 5 + buffered.readUInt32BE(1);
      const message = new Uint8Array(buffered.subarray(5, end));
      buffered = buffered.subarray(end);
      const waiter = waiters.shift();
      if (waiter === undefined) messages.push(message);
      else waiter(message);
    }
  });
  const status = new Promise<CallStatus>((resolve, reject) => {
    const read = (fields: { [name: string]: unknown }) => {
      const code = fields['grpc-status'];
      if (code === undefined) return;
      const message = decodeURIComponent(String(fields['grpc-message']));
      resolve({ code: String(code), message, lacreCode: String(fields['lacre-code']) });
    };
    stream.on('response', read);
    stream.on('trailers', read);
    stream.on('close', () => reject(new Error(`the stream ended without a status, HTTP/2 error ${stream.rstCode}`)));
    stream.on('error', () => undefined);
  });
  status.catch(() => undefined);
  stream.end(body);
  const next = () => {
    const ready = messages.shift();
    if (ready !== undefined) return Promise.resolve(ready);
    const ended = status.then(({ code, message }) => assert.fail(`the stream ended with ${code}: ${message}`));
    return Promise.race([new Promise<Uint8Array>((resolve) => waiters.push(resolve)), ended]);
  };
  return { messages, status, next, cancel: () => stream.close(8) };
}

async function withClient<T>(work: (client: ClientHttp2Session) => Promise<T>): Promise<T> {
  const client = open();
  try {
    return await work(client);
  } finally {
    client.destroy();
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const started = Date.now(); !condition(); ) {
    if (Date.now() - started > 5_000) assert.fail(`it did not come true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('Workload API', () => {
  test('FetchX509SVID gives the identity, its key and the bundle as the standard has them', () =>
    withClient(async (client) => {
      const message = fromBinary(X509SVIDResponseSchema, await call(client, 'FetchX509SVID').next());
      const [svid] = message.svids;
      assert.ok(svid);
      assert.equal(svid.spiffeId, 'spiffe://lacre.test/orders');
      assert.equal(svid.hint, 'internal');
      assert.deepEqual(svid.x509Svid, new Uint8Array([...LEAF, ...CA]));
      assert.deepEqual(svid.bundle, BUNDLE);
      const key = createPrivateKey({ key: Buffer.from(svid.x509SvidKey), format: 'der', type: 'pkcs8' });
      const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
      assert.deepEqual(new Uint8Array(spki), session.asked[0]?.subject);
      assert.equal(session.asked[0]?.record, CALLER.bytes);
    }));

  test('FetchX509Bundles gives the bundle by the trust domain', () =>
    withClient(async (client) => {
      const message = fromBinary(X509BundlesResponseSchema, await call(client, 'FetchX509Bundles').next());
      assert.deepEqual(message.bundles, { 'spiffe://lacre.test': BUNDLE });
      assert.equal(session.asked[0]?.kind, 3);
      assert.equal(session.asked[0]?.subject.length, 16);
    }));

  test('a call without the security header is refused', () =>
    withClient(async (client) => {
      const status = await call(client, 'FetchX509SVID', {}).status;
      assert.deepEqual(status, {
        code: '3',
        message: 'security header missing from request',
        lacreCode: 'agent.workload.header',
      });
      assert.equal(session.asked.length, 0);
    }));

  for (const method of ['FetchJWTSVID', 'FetchJWTBundles', 'ValidateJWTSVID', 'Nothing']) {
    test(`${method} is not implemented`, () =>
      withClient(async (client) => {
        const status = await call(client, method).status;
        const message = `there is no method "/SpiffeWorkloadAPI/${method}"`;
        assert.deepEqual(status, { code: '12', message, lacreCode: 'agent.workload.method' });
      }));
  }

  test('a refusal is PERMISSION_DENIED with its sentence', () =>
    withClient(async (client) => {
      session.answer = () => refusal('/bin/app is 100 % changed: ü');
      const status = await call(client, 'FetchX509SVID').status;
      assert.deepEqual(status, {
        code: '7',
        message: 'no identity issued: /bin/app is 100 % changed: ü',
        lacreCode: 'agent.workload.refused',
      });
    }));

  test('a refusal that says so is asked again under the next quote', () =>
    withClient(async (client) => {
      session.answer = () => (session.asked.length === 1 ? refusal('too old', true) : identities(60_000)());
      await call(client, 'FetchX509SVID').next();
      assert.deepEqual(
        session.asked.map(({ underQuote }) => underQuote),
        [false, true],
      );
      assert.notDeepEqual(session.asked[0]?.subject, session.asked[1]?.subject);
    }));

  test('a refusal that never ends to say so ends', () =>
    withClient(async (client) => {
      session.answer = () => refusal('not yet', true);
      assert.equal((await call(client, 'FetchX509SVID').status).code, '7');
      assert.equal(session.asked.length, 4);
    }));

  test('a caller that is in no container gets PERMISSION_DENIED, and the server is not asked', () =>
    withClient(async (client) => {
      recordFault = new LacreError('agent.workload.refused', 'no identity issued: the process is in no container');
      assert.equal((await call(client, 'FetchX509SVID').status).code, '7');
      assert.equal(session.asked.length, 0);
    }));

  test('without a session callers get UNAVAILABLE, with the reason', () =>
    withClient(async (client) => {
      link.detach(new LacreError('agent.server.unreachable', 'the server is down'));
      const status = await call(client, 'FetchX509SVID').status;
      assert.deepEqual(status, {
        code: '14',
        message: 'the node is not attested: the server is down',
        lacreCode: 'agent.workload.unattested',
      });
      assert.throws(() => link.requireSession(), { code: 'agent.workload.unattested' });
    }));

  test('a new SVID with a new key comes at half of the life of the last, and the last is released', () =>
    withClient(async (client) => {
      session.answer = identities(1_200);
      const opened = call(client, 'FetchX509SVID');
      const first = fromBinary(X509SVIDResponseSchema, await opened.next());
      const startedMs = performance.now();
      const second = fromBinary(X509SVIDResponseSchema, await opened.next());
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs > 450 && tookMs < 900, `renewal after ${tookMs} ms`);
      assert.notDeepEqual(first.svids[0]?.x509SvidKey, second.svids[0]?.x509SvidKey);
      await until(() => session.released.includes(1n), 'the first subscription is released');
      assert.ok(!session.released.includes(2n));
    }));

  test('changed entries make every stream ask again', () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509SVID');
      await opened.next();
      link.entriesChanged();
      await opened.next();
      assert.equal(session.asked.length, 2);
    }));

  test('a new bundle reaches open streams', () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509Bundles');
      await opened.next();
      link.bundleChanged([BUNDLE, CA]);
      const message = fromBinary(X509BundlesResponseSchema, await opened.next());
      assert.deepEqual(message.bundles, { 'spiffe://lacre.test': new Uint8Array([...BUNDLE, ...CA]) });
    }));

  test("a withdrawal ends the container's streams at once, and no other's", () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509SVID');
      await opened.next();
      link.withdrawn(create(WithdrawalSchema, { containerId: 'e'.repeat(64), refusal: { sentence: 'not this one' } }));
      link.withdrawn(
        create(WithdrawalSchema, { containerId: CALLER.containerId, refusal: { sentence: '/bin/app changed' } }),
      );
      assert.deepEqual(await opened.status, {
        code: '7',
        message: 'no identity issued: /bin/app changed',
        lacreCode: 'agent.workload.refused',
      });
      assert.deepEqual(session.released, []);
    }));

  test('a withdrawal of the node ends all streams', () =>
    withClient(async (client) => {
      const opened = [call(client, 'FetchX509SVID'), call(client, 'FetchX509Bundles')];
      await Promise.all(opened.map((one) => one.next()));
      link.withdrawn(create(WithdrawalSchema, { refusal: { sentence: 'the host is not trusted' } }));
      for (const one of opened) assert.equal((await one.status).code, '7');
    }));

  test('streams outlive a short loss of the session and ask again in the next', () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509SVID');
      await opened.next();
      link.detach(new LacreError('agent.session.lost', 'the connection ended'));
      const later = new ScriptedSession();
      link.attach(later);
      link.attested({} as NodeVerdict);
      await opened.next();
      assert.equal(later.asked.length, 1);
      await new Promise((resolve) => setTimeout(resolve, 300));
      link.entriesChanged();
      await opened.next();
    }));

  test('streams end with UNAVAILABLE when the session stays lost for twice the quote interval', () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509SVID');
      await opened.next();
      const startedMs = performance.now();
      link.detach(new LacreError('agent.session.lost', 'the connection ended'));
      const { code, lacreCode } = await opened.status;
      assert.deepEqual([code, lacreCode], ['14', 'agent.workload.unattested']);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs > 150 && tookMs < 1_000, `after ${tookMs} ms`);
    }));

  test('a client that leaves releases what it had, also while it waits', () =>
    withClient(async (client) => {
      const opened = call(client, 'FetchX509SVID');
      await opened.next();
      opened.cancel();
      await until(() => session.released.includes(1n), 'the subscription is released');
      const answer = Promise.withResolvers<Outcome>();
      session.answer = () => answer.promise;
      const waiting = call(client, 'FetchX509SVID');
      await until(() => session.asked.length === 2, 'it is asked');
      waiting.cancel();
      await until(() => session.released.includes(2n), 'the request is given up');
      answer.resolve(refusal('too late'));
      await until(() => link.subscriberCount === 0, 'no stream is left');
    }));

  test('an oversized, compressed, doubled or absent request message is refused', () =>
    withClient(async (client) => {
      const large = encodeFrame(new Uint8Array(5_000));
      const packed = encodeFrame(new Uint8Array(3));
      packed[0] = 1;
      const doubled = Buffer.concat([encodeFrame(new Uint8Array()), encodeFrame(new Uint8Array())]);
      for (const body of [large, packed, doubled, Buffer.alloc(0), Buffer.from([0, 0, 0])]) {
        assert.equal((await call(client, 'FetchX509SVID', SECURITY, body).status).code, '3');
      }
      assert.equal(session.asked.length, 0);
    }));

  test('a client that does not read is cut, and no other', () =>
    withClient(async (client) => {
      const large = new Uint8Array(64 * 1024);
      session.answer = () => {
        const answer = identities(60_000)();
        if (answer.case === 'identities' && answer.value.x509[0] !== undefined)
          answer.value.x509[0].certificateChain = [large];
        return answer;
      };
      const headers = {
        ':method': 'POST',
        ':path': '/SpiffeWorkloadAPI/FetchX509SVID',
        'content-type': 'application/grpc',
      };
      const stream = client.request({ ...headers, ...SECURITY });
      stream.pause();
      stream.on('error', () => undefined);
      stream.end(encodeFrame(new Uint8Array()));
      for (let count = 1; count <= 8 && (count === 1 || link.subscriberCount > 0); count += 1) {
        await until(() => session.asked.length >= count || link.subscriberCount === 0, 'it is asked once more');
        await new Promise((resolve) => setTimeout(resolve, 20));
        link.entriesChanged();
      }
      await until(() => link.subscriberCount === 0, 'the stream is cut');
      assert.ok(session.asked.length <= 6, `${session.asked.length} messages waited`);
      session.answer = identities(60_000);
      await withClient((other) => call(other, 'FetchX509SVID').next());
    }));

  test('one user of the host can not take all streams', () => {
    const counter = new ConnectionCounter();
    const { streamsPerUser, connectionsPerUser } = WORKLOAD_LIMITS;
    for (let count = 0; count < streamsPerUser; count += 1) assert.ok(counter.enterStream(1));
    assert.ok(!counter.enterStream(1));
    assert.ok(counter.enterStream(2));
    counter.leaveStream(1);
    assert.ok(counter.enterStream(1));
    for (let count = 0; count < connectionsPerUser; count += 1) assert.ok(counter.enter(1));
    assert.ok(!counter.enter(1));
    assert.ok(counter.enter(2));
    counter.leave(1);
    assert.ok(counter.enter(1));
    for (let uid = 3; counter.enterStream(uid); uid += 1) assert.ok(uid < WORKLOAD_LIMITS.streams + 3);
  });

  test('more streams than one user may have are refused, and its end frees them', async () => {
    const { streamsPerUser, streamsPerConnection } = WORKLOAD_LIMITS;
    const clients = Array.from({ length: streamsPerUser / streamsPerConnection }, open);
    try {
      const headers = { ':method': 'POST', ':path': '/SpiffeWorkloadAPI/FetchX509SVID', ...SECURITY };
      for (const client of clients)
        for (let count = 0; count < streamsPerConnection; count += 1) {
          const waiting = client.request({ ...headers, 'content-type': 'application/grpc' }, { endStream: false });
          waiting.on('error', () => undefined);
        }
      // The answer to a ping comes after the streams that were opened before it.
      await Promise.all(clients.map((client) => new Promise((resolve) => client.ping(resolve))));
      const { code, lacreCode } = await withClient((client) => call(client, 'FetchX509SVID').status);
      assert.deepEqual([code, lacreCode], ['8', 'agent.workload.limit']);
    } finally {
      for (const client of clients) client.destroy();
    }
    await until(() => unpinned === pinned, 'the callers are let go');
    await withClient((client) => call(client, 'FetchX509SVID').next());
  });

  test('more streams than one connection may have wait or are refused, and the connection lives', () =>
    withClient(async (client) => {
      const count = WORKLOAD_LIMITS.streamsPerConnection;
      await call(client, 'FetchX509SVID').next();
      const calls = Array.from({ length: count + 8 }, () => call(client, 'FetchX509SVID'));
      await Promise.all(calls.slice(0, count - 1).map((one) => one.next()));
      assert.ok(link.subscriberCount <= count, `${link.subscriberCount} streams`);
    }));

  test('bytes that are no HTTP/2 end the connection alone, and its caller is let go', async () => {
    const socket = connect(path);
    socket.on('error', () => undefined);
    socket.resume();
    socket.write('GET / HTTP/1.1\r\n\r\n'.repeat(50));
    await new Promise((resolve) => socket.once('close', resolve));
    await until(() => unpinned === pinned, 'the caller is let go');
    await withClient((client) => call(client, 'FetchX509SVID').next());
  });

  test('socket and folder have the modes that let every process in', async () => {
    assert.equal((await stat(path)).mode & 0o777, 0o777);
    assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o755);
  });

  test('the socket that a killed agent left behind is taken over; a file of that name is not', async () => {
    const left = join(directory, 'left.sock');
    const script = `require('node:net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await promisify(execFile)(process.execPath, ['-e', script]).catch(() => undefined);
    assert.ok((await stat(left)).isSocket());
    const next = await serveWorkloadApi({ path: left, trustDomain: 'lacre.test', link, log: silent, pinCaller });
    await next.close();
    await writeFile(left, 'a file');
    const refused = serveWorkloadApi({ path: left, trustDomain: 'lacre.test', link, log: silent, pinCaller });
    await assert.rejects(refused, { code: 'agent.workload.socket' });
  });

  test('a second agent does not take the socket of a running one', async () => {
    const second = serveWorkloadApi({ path, trustDomain: 'lacre.test', link, log: silent, pinCaller });
    await assert.rejects(second, { code: 'agent.workload.socket' });
  });

  test('curl speaks to it', async () => {
    const body = join(directory, 'request');
    await writeFile(body, Buffer.alloc(5));
    const flags = [
      '-sS',
      '--max-time',
      '1',
      '--http2-prior-knowledge',
      '--unix-socket',
      path,
      '--data-binary',
      `@${body}`,
    ];
    const headers = ['content-type: application/grpc', 'te: trailers', 'workload.spiffe.io: true'].flatMap((line) => [
      '-H',
      line,
    ]);
    const url = 'http://localhost/SpiffeWorkloadAPI/FetchX509SVID';
    // The stream stays open, so curl ends by its own time limit (status 28), with the message read.
    const result = await promisify(execFile)('curl', [...flags, ...headers, url], { encoding: 'buffer' }).catch(
      (error) => error,
    );
    assert.equal(result.code, 28, String(result.stderr));
    const message = fromBinary(X509SVIDResponseSchema, new Uint8Array(result.stdout.subarray(5)));
    assert.equal(message.svids[0]?.spiffeId, 'spiffe://lacre.test/orders');
  });
});
