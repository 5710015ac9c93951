import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileTable, type ReferenceFile } from './file-table.ts';
import { bootReferenceOf, type HostReference, hostReferenceMessage, hostReferenceOf } from './host-reference.ts';

const malformed = { code: 'appraisal.host.malformed' };
const bytes = (length: number, fill = 1) => new Uint8Array(length).fill(fill);
const rows: ReferenceFile[] = ['/a', '/sbin/in_it'].map((path) => ({ path, sha256: bytes(32), mode: 0o755 }));
const files = FileTable.of(rows);
const HOST: HostReference = {
  name: 'n1',
  boot: {
    kernelSha256: [bytes(32, 1)],
    initrdSha256: [bytes(32, 2)],
    commandLines: ['quiet'],
    pcrs: new Map([
      [0, [bytes(32, 3), bytes(32, 4)]],
      [7, [bytes(32, 5)]],
    ]),
  },
  policy: 'measure func=BPRM_CHECK\n',
  uidPoolBase: 200_000,
  nextInit: '/sbin/in_it',
  files,
};
const component = { name: 'shim', pcr: 4, sha256: [bytes(32, 6)], sha384: [bytes(48, 6)], required: true };
const sha384 = { kernels: [bytes(48, 7)], initrds: [bytes(48, 8)], pcrs: new Map([[7, [bytes(48, 9)]]]) };
const FULL: HostReference = { ...HOST, boot: { ...HOST.boot, components: [component], secureBoot: true, sha384 } };

test('reference values survive the wire, and say nothing of what they do not hold', () => {
  for (const host of [HOST, FULL]) {
    const again = hostReferenceOf(hostReferenceMessage(host), files);
    assert.deepEqual({ ...again, files: undefined }, { ...host, files: undefined });
    assert.equal(again.files, files, 'the table itself');
  }
  const { secureBoot, sha384: bank, components, fileCount } = hostReferenceMessage(HOST);
  assert.deepEqual([secureBoot, bank, components, fileCount], [false, undefined, [], 2n]);
});

test('files are counted as they are given: the rows of a stream, or those of a table', () => {
  const message = hostReferenceMessage(HOST);
  const stream = function* (some: ReferenceFile[]) {
    yield* some;
  };
  assert.deepEqual(hostReferenceOf(message, stream(rows)).files.encode(), files.encode());
  const twice = [...rows, ...rows];
  assert.equal(hostReferenceOf({ ...message, fileCount: 4n }, stream(twice)).files.size, 2);
  for (const fileCount of [1n, 3n]) assert.throws(() => hostReferenceOf({ ...message, fileCount }, files), malformed);
  assert.throws(() => hostReferenceOf(message, twice), malformed);
});

test('the first program of the root is one of its files, where it is known', () => {
  const message = hostReferenceMessage(HOST);
  assert.equal(hostReferenceOf({ ...message, nextInit: '' }, files).nextInit, '');
  assert.equal(hostReferenceOf({ ...message, nextInit: '/sbin/in it' }, files).nextInit, '/sbin/in_it');
  for (const nextInit of ['/sbin', '/b', 'a'])
    assert.throws(() => hostReferenceOf({ ...message, nextInit }, files), malformed);
});

test('a digest has the length of its algorithm, and a host a name', () => {
  const message = hostReferenceMessage(FULL);
  const bank = message.sha384 ?? assert.fail();
  const pcrs = (length: number) => ({ 3: { $typeName: 'lacre.v1.PcrValues' as const, sha256: [bytes(length)] } });
  assert.throws(() => bootReferenceOf({ ...message, name: '' }), malformed);
  for (const length of [0, 31, 33, 48]) {
    const one = [bytes(length)];
    for (const change of [{ kernelSha256: one }, { initrdSha256: one }, { pcrs: pcrs(length) }])
      assert.throws(() => bootReferenceOf({ ...message, ...change }), malformed, `${Object.keys(change)}: ${length}`);
  }
  for (const length of [0, 32, 47, 49]) {
    const one = [bytes(length)];
    const pinned = { pcrs: bank.pcrs.map((pcr) => ({ ...pcr, values: one })) };
    for (const change of [{ kernels: one }, { initrds: one }, pinned])
      assert.throws(() => bootReferenceOf({ ...message, sha384: { ...bank, ...change } }), malformed);
  }
});

test('a component has a name, a PCR that a quote covers, and a digest of one bank at least', () => {
  const message = hostReferenceMessage(FULL);
  const [sent = assert.fail()] = message.components;
  const of = (...changes: Partial<typeof sent>[]) =>
    bootReferenceOf({ ...message, components: changes.map((change) => ({ ...sent, ...change })) }).components;
  for (const pcr of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]) assert.equal(of({ pcr })?.[0]?.pcr, pcr);
  for (const pcr of [11, 15, 16, 17, 23]) assert.throws(() => of({ pcr }), malformed, String(pcr));
  assert.throws(() => of({ name: '' }), malformed);
  assert.deepEqual(of({ sha256: [] }), [{ ...component, sha256: [] }]);
  assert.deepEqual(of({ sha384: [], required: false }), [{ ...component, sha384: [], required: false }]);
  assert.throws(() => of({ sha256: [], sha384: [] }), malformed);
  for (const length of [0, 31, 33]) assert.throws(() => of({ sha256: [bytes(32), bytes(length)] }), malformed);
  for (const length of [0, 32, 47, 49]) assert.throws(() => of({ sha384: [bytes(48), bytes(length)] }), malformed);
  assert.equal(of(...Array(1024).fill({}))?.length, 1024);
  assert.throws(() => of(...Array(1025).fill({})), malformed);
});
