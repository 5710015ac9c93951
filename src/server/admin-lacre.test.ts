import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ConnectError } from '@connectrpc/connect';
import {
  CONFIG_DIGEST,
  codeOf,
  digestOf,
  IMAGE_FILES,
  MANIFEST,
  TestServer,
} from '../../test/simulator/scripted-node.ts';
import { TrustDomain } from '../identity/trust-domain.ts';
import { SigningAuthority } from '../issuance/signing-authority.ts';

const EK = 'ab'.repeat(32);

/** Any certificate will do as an endorsement root that vouches for nobody. */
async function someRoot(): Promise<string> {
  const authority = SigningAuthority.create({
    trustDomain: TrustDomain.parse('roots.test'),
    key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    serial: new Uint8Array(randomBytes(16)),
    now: new Date(),
    ttlMs: 3_600_000,
    subject: { organization: 'Test', commonName: 'Root' },
  });
  const path = join(await mkdtemp(join(tmpdir(), 'lacre-root-')), 'root.der');
  await writeFile(path, authority.certificate);
  return path;
}

function fails(work: Promise<unknown>, code: string, pattern: RegExp): Promise<void> {
  return assert.rejects(
    work,
    (error) => error instanceof ConnectError && codeOf(error) === code && pattern.test(error.message),
  );
}

describe('lacre.v1.Admin', () => {
  let server: TestServer;
  before(async () => {
    server = await TestServer.start(await someRoot());
  });
  after(() => server[Symbol.asyncDispose]());

  async function* image(change: Record<string, unknown>, files: unknown[] = IMAGE_FILES) {
    const value = {
      manifestDigest: MANIFEST,
      configDigest: CONFIG_DIGEST,
      fileCount: BigInt(files.length),
      entrypointPath: '/bin/app',
      ...change,
    };
    yield { part: { case: 'image', value } } as never;
    yield { part: { case: 'files', value: { files } } } as never;
  }

  test('keeps the inventory: by hash, by name, by the beginning of a hash', async () => {
    const node = await server.admin.addNode({ ekSha256: EK.toUpperCase(), name: 'alpha' });
    assert.equal(node.spiffeId, `spiffe://lacre.test/spire/agent/lacre_tpm/${EK.slice(0, 32)}`);
    assert.equal(node.state, 'expected');
    for (const subject of ['alpha', EK, EK.slice(0, 6), node.spiffeId]) {
      assert.equal((await server.admin.getNode({ node: subject })).ekSha256, EK);
    }
    await server.admin.addNode({ ekSha256: `${EK.slice(0, 8)}${'0'.repeat(56)}` });
    await fails(server.admin.getNode({ node: EK.slice(0, 6) }), 'server.subject.ambiguous', /2 nodes/);
    assert.equal((await server.admin.getNode({ node: EK })).name, 'alpha');
    await fails(server.admin.addNode({ ekSha256: EK }), 'server.node.exists', /inventory already/);
    await fails(server.admin.addNode({ ekSha256: 'cd'.repeat(32), name: 'alpha' }), 'server.node.exists', /alpha/);
    await server.admin.deleteNode({ node: 'alpha' });
    await fails(server.admin.getNode({ node: 'alpha' }), 'server.node.missing', /no node is called alpha/);
    await server.admin.deleteNode({ node: EK.slice(0, 8) });
    assert.deepEqual((await server.admin.listNodes({})).nodes, []);
  });

  test('refuses nodes that cannot be', async () => {
    await fails(server.admin.addNode({}), 'server.reference.invalid', /SHA-256 or its certificate/);
    await fails(server.admin.addNode({ ekSha256: 'xyz' }), 'server.reference.invalid', /64 hexadecimal digits/);
    await fails(server.admin.addNode({ ekCertificate: new Uint8Array(99) }), 'tpm.endorsement.certificate', /./);
    await fails(server.admin.addNode({ ekSha256: EK, name: '../x' }), 'server.reference.invalid', /name of a node/);
    await fails(
      server.admin.addNode({ ekSha256: EK, name: 'abcdef' }),
      'server.reference.invalid',
      /beginning of an EK hash/,
    );
    await fails(
      server.admin.addNode({ ekSha256: EK, host: 'nowhere' }),
      'server.subject.missing',
      /lacre host approve/,
    );
    assert.deepEqual((await server.admin.listNodes({})).nodes, []);
  });

  test('keeps images, and takes back what is deleted', async () => {
    const info = await server.admin.approveImage(image({ names: ['app:1'] }));
    assert.equal(info.image?.fileCount, 3n);
    const { images } = await server.admin.listImages({});
    assert.deepEqual(
      images.map((one) => one.image?.names),
      [['app:1']],
    );
    await server.admin.deleteImage({ manifestDigest: MANIFEST });
    assert.deepEqual((await server.admin.listImages({})).images, []);
    await fails(
      server.admin.deleteImage({ manifestDigest: MANIFEST }),
      'server.subject.missing',
      /no reference values/,
    );
  });

  const bad: readonly [string, string, Record<string, unknown>, unknown[]?][] = [
    ['a digest that is none', 'appraisal.image.malformed', { manifestDigest: 'latest' }],
    ['another count of files', 'appraisal.image.malformed', { fileCount: 7n }],
    ['an entrypoint that is no file', 'appraisal.image.malformed', { entrypointPath: '/bin/other' }],
    [
      'a path that is not absolute',
      'appraisal.files.malformed',
      {},
      [{ path: 'bin/app', sha256: digestOf('x'), mode: 0 }],
    ],
    [
      'a digest that is too short',
      'appraisal.files.malformed',
      {},
      [{ path: '/bin/app', sha256: new Uint8Array(31), mode: 0 }],
    ],
  ];
  for (const [what, code, change, files] of bad) {
    test(`refuses an image with ${what}, and stores nothing`, async () => {
      await fails(server.admin.approveImage(image(change, files)), code, /./);
      assert.deepEqual((await server.admin.listImages({})).images, []);
    });
  }

  test('refuses files before the image, nothing at all, and too many files', async () => {
    const files = (async function* () {
      yield { part: { case: 'files' as const, value: { files: [] } } };
    })();
    await fails(server.admin.approveImage(files), 'server.reference.invalid', /first comes the image/);
    const nothing = (async function* () {})();
    await fails(server.admin.approveImage(nothing), 'server.reference.invalid', /first comes the image/);
    const many = Array.from({ length: 4097 }, (_, number) => ({ path: `/${number}`, sha256: digestOf('x'), mode: 0 }));
    await fails(server.admin.approveImage(image({}, many)), 'server.limit', /too many/);
  });

  test('keeps hosts', async () => {
    await server.approve();
    const { hosts } = await server.admin.listHosts({});
    assert.deepEqual(
      hosts.map(({ host }) => [host?.name, host?.fileCount]),
      [['test-host', 4n]],
    );
    await server.admin.deleteHost({ name: 'test-host' });
    await fails(server.admin.deleteHost({ name: 'test-host' }), 'server.subject.missing', /test-host/);
  });

  test('says that it knows nothing of a stranger', async () => {
    await fails(server.admin.why({ subject: 'stranger' }), 'server.subject.missing', /stranger/);
    await fails(server.admin.why({ subject: '' }), 'server.subject.missing', /nothing/);
    await fails(server.admin.listWorkloads({ node: 'stranger' }), 'server.node.missing', /stranger/);
    assert.deepEqual((await server.admin.listWorkloads({})).workloads, []);
  });

  test('drops watchers over the bound', async () => {
    const stop = new AbortController();
    const watch = () => server.admin.watch({}, { signal: stop.signal })[Symbol.asyncIterator]().next();
    const open = Array.from({ length: 32 }, () => watch().catch(() => undefined));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await fails(watch(), '', /32 watchers/);
    stop.abort();
    await Promise.all(open);
  });
});
