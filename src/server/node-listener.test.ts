import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { ConnectError } from '@connectrpc/connect';
import { codeOf, containerOf, Fixture, requestOf } from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { type AgentIdentity, connectServer } from '../agent/connection.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { SigningAuthority } from '../issuance/signing-authority.ts';

const skip = skipWithoutSoftwareTpm();
const none = new Uint8Array();

describe('the node listener', { skip }, () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await Fixture.start();
  });
  after(() => fixture[Symbol.asyncDispose]());

  function open(options: ConnectionOptions = {}): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const base = { host: '127.0.0.1', port: fixture.server.port, rejectUnauthorized: false, ALPNProtocols: ['h2'] };
      const socket = tlsConnect({ ...base, ...options }, () => resolve(socket));
      socket.once('error', reject);
    });
  }

  /** Sends bytes as the body of a call, and returns its gRPC status, or how the stream ended. */
  async function call(method: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<string> {
    const socket = await open();
    const session: ClientHttp2Session = http2Connect('https://server', { createConnection: () => socket });
    session.on('error', () => undefined);
    try {
      return await new Promise((resolve) => {
        const stream = session.request({
          ':method': 'POST',
          ':path': `/lacre.v1.Node/${method}`,
          'content-type': 'application/grpc',
          te: 'trailers',
          ...headers,
        });
        stream.on('response', (found) => {
          if (found['grpc-status'] !== undefined) resolve(String(found['grpc-status']));
          else if (found[':status'] !== 200) resolve(`http ${found[':status']}`);
        });
        stream.on('trailers', (found) => resolve(String(found['grpc-status'])));
        stream.on('error', (error) => resolve(error.message));
        stream.on('close', () => resolve('closed'));
        stream.resume();
        stream.end(body);
      });
    } finally {
      session.destroy();
    }
  }

  function frame(message: Uint8Array, length = message.length, flags = 0): Uint8Array {
    const head = Buffer.alloc(5);
    head.writeUInt8(flags, 0);
    head.writeUInt32BE(length, 1);
    return new Uint8Array(Buffer.concat([head, message]));
  }

  test('speaks TLS 1.3 alone', async () => {
    await assert.rejects(open({ maxVersion: 'TLSv1.2' }));
    const socket = await open();
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    socket.destroy();
  });

  test('resumes no session', async () => {
    const tickets: Buffer[] = [];
    const first = await open();
    first.on('session', (ticket) => tickets.push(ticket));
    await new Promise((resolve) => setTimeout(resolve, 200));
    first.destroy();
    for (const ticket of tickets) {
      const second = await open({ session: ticket });
      assert.equal(second.isSessionReused(), false);
      second.destroy();
    }
  });

  test('is the server of the trust domain, and nobody else', async () => {
    const place = await fixture.node.place(fixture.server);
    await assert.rejects(connectServer({ ...place, trustDomain: 'other.test' }), /not the server of the trust domain/);
  });

  test('gives no session to a node that shows no certificate', async () => {
    const connection = await connectServer(await fixture.node.place(fixture.server));
    await rejectsWith(connection.client.attest(hello()), 'server.node.unauthenticated', /must enrol first/);
    connection.close();
  });

  test('gives no session to a certificate of another authority', async () => {
    const connection = await connectServer({
      ...(await fixture.node.place(fixture.server)),
      identity: await foreignIdentity(fixture.node.spiffeId, fixture.identity),
    });
    await rejectsWith(connection.client.attest(hello()), 'identity.svid.untrusted', /./);
    connection.close();
  });

  test("gives no session to a workload's certificate", async () => {
    const container = containerOf(1);
    const session = await fixture.session(container);
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const subject = new Uint8Array(key.publicKey.export({ format: 'der', type: 'spki' }));
    const outcome = await session.ask({ ...requestOf(container), subject });
    assert.ok(outcome.case === 'identities');
    session.close();
    const identity = {
      ...fixture.identity,
      certificateChain: outcome.value.x509[0]?.certificateChain ?? [],
      privateKeyPem: key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    };
    const connection = await connectServer({ ...(await fixture.node.place(fixture.server)), identity });
    await rejectsWith(connection.client.attest(hello()), 'server.node.missing', /not in the inventory/);
    connection.close();
  });

  test('a session that begins without a hello is refused', async () => {
    const { node, server, identity } = fixture;
    const connection = await connectServer({ ...(await node.place(server)), identity });
    const early = (async function* () {
      yield { message: { case: 'release' as const, value: { ids: [1n] } } };
    })();
    await rejectsWith(connection.client.attest(early), 'server.protocol', /begins with a hello/);
    connection.close();
  });

  const garbage: readonly [string, Uint8Array, Record<string, string>?][] = [
    ['nothing', none],
    ['an empty message', frame(none)],
    ['random bytes', frame(new Uint8Array(randomBytes(500)))],
    ['a frame of four gigabytes', frame(new Uint8Array(10), 0xffff_ffff)],
    ['a frame over the bound', frame(new Uint8Array(9 * 1024 * 1024))],
    ['half a frame', new Uint8Array([0, 0])],
    ['a field of more bytes than there are', frame(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f))],
    ['a length of ten bytes', frame(Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f))],
    ['a hello in a hello in a hello', frame(new Uint8Array(Array.from({ length: 200 }, () => [0x0a, 0x7f]).flat()))],
    ['a compressed frame', frame(new Uint8Array(randomBytes(100)), 100, 1), { 'grpc-encoding': 'gzip' }],
    ['JSON', frame(new Uint8Array(Buffer.from('{"hello":{}}'))), { 'content-type': 'application/grpc+json' }],
    ['a method that is not there', frame(none), { ':path': '/lacre.v1.Node/Nothing' }],
  ];
  for (const [what, body, headers] of garbage) {
    for (const method of ['Enrol', 'Attest']) {
      test(`answers ${what} to ${method} with an error, and stays up`, async () => {
        const status = await call(method, body, headers);
        assert.notEqual(status, '0');
        assert.notEqual(status, '13', 'not a fault of the server');
      });
    }
  }

  test('ends a list that goes on where it may not, and a container too many', async () => {
    const first = await fixture.session();
    first.send({ case: 'list', value: { offset: 99n, data: new Uint8Array(10) } });
    assert.match((await first.end()).message, /goes on at byte 0/);
    first.close();
    const second = await fixture.session();
    second.send({ case: 'list', value: { offset: 0n, data: new Uint8Array(600 * 1024) } });
    assert.match((await second.end()).message, /at most 524288 bytes/);
    second.close();
    const third = await fixture.session();
    third.send({
      case: 'containers',
      value: { containers: [], gone: Array.from({ length: 10_000 }, String), complete: true },
    });
    assert.match((await third.end()).message, /at most 2048 containers/);
    third.close();
    const fourth = await fixture.session();
    fourth.send({ case: 'containers', value: { containers: [new Uint8Array(300 * 1024)], gone: [], complete: true } });
    assert.match((await fourth.end()).message, /262144/);
    fourth.close();
  });

  test('after all of this a node still gets its session', async () => {
    const container = containerOf(2);
    const session = await fixture.session(container);
    assert.equal((await session.ask(requestOf(container))).case, 'identities');
    session.close();
  });
});

async function* hello() {
  yield { message: { case: 'hello' as const, value: { agentVersion: 'test', eventLog: none } } };
}

async function rejectsWith(stream: AsyncIterable<unknown>, code: string, pattern: RegExp): Promise<void> {
  await assert.rejects(
    async () => {
      for await (const _ of stream) assert.fail('a message came');
    },
    (error) => error instanceof ConnectError && codeOf(error) === code && pattern.test(error.message),
  );
}

/** An SVID of the right name, by an authority of our own. */
async function foreignIdentity(spiffeId: string, like: AgentIdentity): Promise<AgentIdentity> {
  const authority = SigningAuthority.create({
    trustDomain: TrustDomain.parse('lacre.test'),
    key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    serial: new Uint8Array(randomBytes(16)),
    now: new Date(),
    ttlMs: 3_600_000,
    subject: { organization: 'Other', commonName: 'Other' },
  });
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { EMPTY_NAME } = await import('../issuance/certificate.ts');
  const { alternativeNames, LEAF_CONSTRAINTS, LEAF_EXTENDED_KEY_USAGE, LEAF_KEY_USAGE } = await import(
    '../issuance/extension.ts'
  );
  const certificate = authority.signLeaf({
    serial: new Uint8Array(randomBytes(16)),
    subject: EMPTY_NAME,
    notBefore: new Date(Date.now() - 1000),
    notAfter: new Date(Date.now() + 600_000),
    publicKey: new Uint8Array(key.publicKey.export({ format: 'der', type: 'spki' })),
    extensions: [LEAF_KEY_USAGE, LEAF_EXTENDED_KEY_USAGE, LEAF_CONSTRAINTS, alternativeNames(spiffeId, [], true)],
  });
  return {
    ...like,
    certificateChain: [certificate],
    privateKeyPem: key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}
