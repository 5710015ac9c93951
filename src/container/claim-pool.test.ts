import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '../proto/lacre/v1/record_pb.ts';
import { ClaimPool } from './claim-pool.ts';
import { decodeContainer, decodeRecord, encodeContainer, encodeRecord, makeContainer, makeRecord } from './record.ts';

const id = (number: number) => number.toString(16).padStart(64, '0');

function containerOf(number: number, fields: Partial<Container> = {}) {
  const container = makeContainer({
    id: id(number),
    sandboxId: id(99),
    engine: 'podman',
    name: `app-${number}`,
    initStartTicks: 7n,
    imageName: 'registry.test/app:1',
    manifestDigest: `sha256:${'a'.repeat(64)}`,
    configDigest: `sha256:${'b'.repeat(64)}`,
    argv: ['/bin/app', '--serve'],
    cwd: '/srv',
    uid: 5,
    gid: 6,
    environment: [{ $typeName: 'lacre.v1.EnvironmentName', name: 'PATH', relation: 1 }],
    mounts: [
      {
        $typeName: 'lacre.v1.Mount',
        target: '/',
        type: 'tmpfs',
        root: '/',
        readOnly: true,
        noexec: true,
        sourceKind: 'tmpfs',
        superOptions: 'size=0k',
        peer: `0:${number}`,
      },
    ],
    capabilities: 3n,
    boundingCapabilities: 4n,
    seccompMode: 2,
    seccompSha256: new Uint8Array(32).fill(9),
    seccompDeniesUserns: true,
    noNewPrivs: true,
    devices: ['/dev/null'],
    hostNamespaces: ['net'],
    uidMap: [{ $typeName: 'lacre.v1.IdExtent', inside: 0, outside: 1024 * number, length: 1024 }],
    privileged: true,
    execSessions: 8,
    rootReadOnly: true,
    labels: [{ $typeName: 'lacre.v1.Label', name: 'a', value: 'b' }],
    maxUserNamespaces: 1n,
    hasFuseDevice: true,
    ...fields,
  });
  return decodeContainer(encodeContainer(container));
}

test('a shared claim says the same in every field', () => {
  const container = containerOf(1);
  const shared = new ClaimPool().share(container);
  assert.deepEqual({ ...shared.claim }, { ...container.claim });
  assert.deepEqual([shared.sha256, shared.range], [container.sha256, container.range]);
  assert.deepEqual(encodeContainer(shared.claim), encodeContainer(container.claim));
});

test('equal parts of two containers are one object, others stay apart', () => {
  const pool = new ClaimPool();
  const [one, two] = [pool.share(containerOf(1)).claim, pool.share(containerOf(2, { argv: ['/bin/app'] })).claim];
  assert.equal(one.environment, two.environment);
  assert.equal(one.labels, two.labels);
  assert.equal(one.seccompSha256, two.seccompSha256);
  assert.deepEqual([one.argv, two.argv], [['/bin/app', '--serve'], ['/bin/app']]);
  assert.deepEqual([one.mounts[0]?.peer, two.mounts[0]?.peer], ['0:1', '0:2']);
});

test('no text of one container stands for a list or a digest of another', () => {
  const pool = new ClaimPool();
  const lists = [
    '["/dev/null"]',
    'list ["/dev/null"]',
    '[]',
    'list []',
    'bytes \t\t'.padEnd(38, '\t'),
    '\t'.repeat(32),
  ];
  for (const text of lists) pool.share(containerOf(1, { imageName: text, cwd: text, sandboxId: '' }));
  for (const fields of [{}, { devices: [], labels: [] }]) {
    const container = containerOf(2, fields);
    assert.deepEqual({ ...pool.share(container).claim }, { ...container.claim });
  }
});

test('what is shared holds on to no message', () => {
  const message = new Uint8Array(10_000);
  const bytes = encodeContainer(containerOf(1).claim);
  message.set(bytes, 100);
  const { claim, sha256 } = new ClaimPool().share(decodeContainer(message.subarray(100, 100 + bytes.length)));
  assert.deepEqual([claim.seccompSha256.buffer.byteLength, sha256.buffer.byteLength], [32, 32]);
});

/** Its parts: two texts, a list and a digest. */
const small = () => decodeContainer(encodeContainer(makeContainer({ id: id(1), engine: 'podman' })));

test('just so many parts are kept', () => {
  const again = (pool: ClaimPool, ...between: Partial<Container>[]) => {
    const { claim } = pool.share(small());
    const other = small();
    for (const fields of between) pool.share({ ...other, claim: { ...other.claim, ...fields } });
    const { argv, seccompSha256 } = pool.share(small()).claim;
    return [argv === claim.argv, seccompSha256 === claim.seccompSha256];
  };
  assert.deepEqual(again(new ClaimPool(4)), [true, true]);
  assert.deepEqual(again(new ClaimPool(3)), [false, false]);
  const names = (count: number) => Array.from({ length: count }, (_, n) => ({ imageName: `image-${n}` }));
  assert.deepEqual(again(new ClaimPool(), ...names(16_380)), [true, true]);
  assert.deepEqual(again(new ClaimPool(), ...names(16_381)), [false, false]);
});

test('what is forgotten takes no place', () => {
  const pool = new ClaimPool(4);
  const container = small();
  pool.share({ ...container, claim: { ...container.claim, imageName: 'x', cwd: 'y' } });
  assert.equal(pool.share(small()).claim.argv, pool.share(small()).claim.argv);
});

test('with more parts than are kept all are forgotten, and nothing is mixed up', () => {
  const pool = new ClaimPool(4);
  for (let number = 1; number < 50; number++) {
    const container = containerOf(number, { argv: [`/bin/${number}`] });
    assert.deepEqual({ ...pool.share(container).claim }, { ...container.claim });
  }
});

test('a record names its container by the very bytes that are held', () => {
  const pool = new ClaimPool();
  const container = pool.share(containerOf(1));
  const recordOf = (containerId: string, containerSha256: Uint8Array) => {
    const usual = { uid: 1, gid: 2, executable: '/bin/app', isInitFamily: true, joinedByExec: false, startTicks: 3n };
    return decodeRecord(encodeRecord(makeRecord({ ...usual, containerId, containerSha256 })));
  };
  const current = recordOf(id(1), container.sha256);
  const shared = pool.shareRecord(current, container);
  assert.deepEqual({ ...shared.claim }, { ...current.claim });
  assert.equal(shared.claim.containerSha256, container.sha256);
  const former = recordOf(id(1), new Uint8Array(32).fill(5));
  assert.deepEqual({ ...pool.shareRecord(former, container).claim }, { ...former.claim });
  const foreign = recordOf(id(2), new Uint8Array(32).fill(6));
  for (const held of [container, undefined]) {
    assert.deepEqual({ ...pool.shareRecord(foreign, held).claim }, { ...foreign.claim });
  }
});
