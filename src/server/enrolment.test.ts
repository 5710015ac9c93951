import assert from 'node:assert/strict';
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { imaSigEntry } from '../../test/simulator/list-entry.ts';
import { codeOf, digestOf, type EnrolChange, ScriptedNode, TestServer } from '../../test/simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../../test/simulator/software-tpm.ts';
import { connectServer } from '../agent/connection.ts';
import { CODE_TRAILER } from '../grpc-status.ts';
import { RefusalSchema } from '../proto/lacre/v1/node_pb.ts';

const skip = skipWithoutSoftwareTpm();

describe('enrolment', { skip }, () => {
  let node: ScriptedNode;
  let server: TestServer;
  before(async () => {
    node = await ScriptedNode.boot();
    server = await TestServer.start(node.tpm.rootPath);
    await server.approve();
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await node[Symbol.asyncDispose]();
  });

  async function refused(change: EnrolChange, status: Code, code: string, pattern: RegExp): Promise<ConnectError> {
    const error = await node.enrol(server, change).then(
      () => assert.fail('the node was enrolled'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ConnectError, String(error));
    assert.equal(error.metadata.get(CODE_TRAILER), code, error.message);
    assert.equal(Code[error.code], Code[status]);
    assert.match(error.message, pattern);
    return error;
  }

  test('of an EK that is in no inventory is refused, parked, and told what to do', async () => {
    const ek = node.ekSha256Hex;
    const error = await refused({}, Code.PermissionDenied, 'server.node.unknown', new RegExp(`lacre node add ${ek}`));
    assert.ok(error.message.includes(ek));
    const { nodes } = await server.admin.listNodes({});
    assert.deepEqual(
      nodes.map(({ ekSha256, state }) => [ekSha256, state]),
      [[ek, 'parked']],
    );
    await refused({}, Code.PermissionDenied, 'server.node.unknown', /inventory/);
  });

  test('of a node of the inventory gives it an SVID of at most an hour, bound to its key', async () => {
    const added = await server.admin.addNode({ ekSha256: node.ekSha256Hex, name: 'node-1' });
    assert.equal(added.state, 'expected');
    const { result, identity } = await node.enrol(server);
    const leaf = new X509Certificate(result.certificateChain[0] ?? new Uint8Array());
    assert.equal(leaf.subjectAltName, `URI:${node.spiffeId}`);
    assert.ok(leaf.validToDate.getTime() <= Date.now() + 3_600_000);
    assert.ok(leaf.checkPrivateKey(createPrivateKey(identity.privateKeyPem)));
    assert.equal(result.host?.trusted, true);
    const info = await server.admin.getNode({ node: node.ekSha256Hex.slice(0, 8) });
    assert.equal(info.state, 'enrolled');
    assert.equal(info.rootOfTrust, 'software');
  });

  test('may be done again, and an older SVID is still one of the node', async () => {
    const first = await node.enrol(server);
    const second = await node.enrol(server);
    assert.notDeepEqual(first.result.certificateChain, second.result.certificateChain);
    for (const { identity } of [first, second]) (await node.attest(server, identity)).close();
  });

  const attacks: readonly [string, EnrolChange, string, RegExp][] = [
    ['without the secret of the credential', { secret: new Uint8Array(32) }, 'tpm.quote.extra-data', /another nonce/],
    ['with another nonce', { nonce: new Uint8Array(randomBytes(32)) }, 'tpm.quote.extra-data', /another nonce/],
    ['from another connection', { exporter: new Uint8Array(randomBytes(32)) }, 'tpm.quote.extra-data', /another nonce/],
    ['with another event log', { eventLog: new Uint8Array(0) }, 'boot.log.malformed', /./],
    ['with an empty list', { list: new Uint8Array(0) }, 'ima.prefix.unexplained', /no prefix/],
    ['with bytes that are no list', { list: new Uint8Array(randomBytes(4000)) }, 'ima.entry', /./],
    ['with a certificate request that is none', { hello: { csr: new Uint8Array(200) } }, 'identity.', /./],
    ['with an EK certificate that is none', { hello: { ekCertificate: new Uint8Array(300) } }, 'tpm.endorsement', /./],
    ['with an attestation key that is none', { hello: { akPublic: new Uint8Array(90) } }, 'tpm.', /./],
    ['with an EK that is none', { hello: { ekPublic: new Uint8Array(90) } }, 'tpm.', /./],
    ['with an oversized request', { hello: { csr: new Uint8Array(40_000) } }, 'server.limit', /certificate request/],
  ];
  for (const [what, change, code, pattern] of attacks) {
    test(`${what} is refused`, async () => {
      const error = await node.enrol(server, change).then(
        () => assert.fail('the node was enrolled'),
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof ConnectError, String(error));
      assert.ok(
        error.metadata.get(CODE_TRAILER)?.startsWith(code),
        `${error.metadata.get(CODE_TRAILER)}: ${error.message}`,
      );
      assert.notEqual(error.code, Code.Internal);
      assert.match(error.message, pattern);
      assert.equal((await server.admin.getNode({ node: 'node-1' })).host?.trusted, true, 'nothing was written');
    });
  }

  test('with the EK as attestation key is refused', async () => {
    const { public: ekPublic } = await node.client.createEndorsementKey();
    await refused(
      { hello: { akPublic: ekPublic } },
      Code.PermissionDenied,
      'tpm.ak.attributes',
      /restricted|sign|decrypt/,
    );
  });

  test('of a list whose last entry the TPM never saw is of the list before it alone', async () => {
    const list = await node.list();
    const { bytes } = imaSigEntry(10, { path: '/bin/evil', sha256: digestOf('evil') });
    const error = await refused(
      { list: new Uint8Array([...list, ...bytes]) },
      Code.PermissionDenied,
      'server.evidence.refused',
      /\/bin\/evil/,
    );
    assert.ok(error.details.length > 0);
  });

  test('of a host that executed what nobody approved is refused with the whole verdict', async () => {
    await node.kernel.measureHost({ path: '/tmp/evil', sha256: digestOf('evil') });
    const error = await refused({}, Code.PermissionDenied, 'server.evidence.refused', /\/tmp\/evil/);
    const [refusal] = error.findDetails(RefusalSchema);
    const fatal = refusal?.verdict?.findings.filter((finding) => finding.fatal) ?? [];
    assert.deepEqual(
      fatal.map(({ path, code }) => [path, code]),
      [['/tmp/evil', 'appraisal.file.unknown']],
    );
    assert.equal(fatal[0]?.seenSha256, Buffer.from(digestOf('evil')).toString('hex'));
    assert.ok((fatal[0]?.logIndex ?? -1n) > 0n);
    assert.equal((await server.admin.getNode({ node: 'node-1' })).state, 'refused');
  });

  test('of a banned node is refused, and so is a session with its SVID', async () => {
    const other = await ScriptedNode.boot();
    const elsewhere = await TestServer.start(other.tpm.rootPath);
    await elsewhere.approve();
    await elsewhere.admin.addNode({ ekSha256: other.ekSha256Hex });
    const { identity } = await other.enrol(elsewhere);
    const path = other.spiffeId.slice('spiffe://lacre.test'.length);
    await elsewhere.agents.banAgent({ id: { trustDomain: 'lacre.test', path } });
    await assert.rejects(other.enrol(elsewhere), (error) => codeOf(error) === 'server.node.banned');
    await assert.rejects(other.attest(elsewhere, identity), (error) => codeOf(error) === 'server.node.unauthenticated');
    await elsewhere[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  test('of a chip whose maker nobody configured is refused', async () => {
    const foreign = await ScriptedNode.boot();
    await server.admin.addNode({ ekSha256: foreign.ekSha256Hex, name: 'foreign' });
    const error = await foreign.enrol(server).then(
      () => assert.fail('the node was enrolled'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ConnectError);
    assert.equal(error.metadata.get(CODE_TRAILER), 'tpm.endorsement.chain');
    await foreign[Symbol.asyncDispose]();
  });

  test('on a connection whose stream ends early leaves nothing behind', async () => {
    const connection = await connectServer(await node.place(server));
    const stream = connection.client.enrol((async function* () {})());
    await assert.rejects(async () => {
      for await (const _ of stream) assert.fail('a message came');
    }, /ended before/);
    connection.close();
  });
});
