import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLacreError } from '../lacre-error.ts';
import { Store } from './store.ts';
import { addTestNode, TEST_EK, TEST_TIME, testCommit } from './store-fixture.ts';

const fenced = (error: unknown) => isLacreError(error, 'server.store.fenced');

function opened(): { store: Store; fence: number } {
  const store = Store.openInMemory();
  addTestNode(store.nodes);
  return { store, fence: store.nodes.nextFence(TEST_EK) };
}

test('evidence is written as a whole, and read back as it was', () => {
  const { store, fence } = opened();
  const workload = {
    containerId: 'c1',
    containerName: 'orders',
    imageName: 'demo',
    manifestDigest: 'sha256:aa',
    attribution: 'exact',
    running: true,
    verdict: new Uint8Array([7]),
    withdrawnAt: undefined,
  };
  const taint = { domain: 'd1', logIndex: 3, finding: new Uint8Array([9]) };
  const commit = testCommit(fence, undefined, 3, { workloads: [workload], taints: [taint, taint] });
  store.evidence.commitEvidence(commit);
  assert.deepEqual(store.evidence.epoch(TEST_EK), commit.epoch);
  assert.deepEqual(store.evidence.taints(TEST_EK, 'e1'), [taint]);
  assert.deepEqual(store.evidence.workloads(TEST_EK), [{ ...workload, ekSha256Hex: TEST_EK, updatedAt: TEST_TIME }]);
  assert.deepEqual(store.evidence.activeSerials(TEST_TIME, TEST_EK, 'c1').length, 3);
  assert.deepEqual(store.evidence.ledger(1, 10), [new Uint8Array([1]), new Uint8Array([2])]);
  const node = store.nodes.get(TEST_EK);
  assert.equal(node?.state, 'attested');
  assert.equal(node?.verifiedEntries, 3);
});

test('compare-and-set on (fence, index): what is behind writes nothing', () => {
  const { store, fence } = opened();
  store.evidence.commitEvidence(testCommit(fence, undefined, 3));
  store.evidence.commitEvidence(testCommit(fence, 3, 5));
  assert.throws(() => store.evidence.commitEvidence(testCommit(fence, 3, 6)), fenced);
  const newer = store.nodes.nextFence(TEST_EK);
  assert.equal(newer, fence + 1);
  assert.throws(() => store.evidence.commitEvidence(testCommit(fence, 5, 6)), fenced);
  assert.throws(() => store.evidence.commitIssued({ ekSha256Hex: TEST_EK, fence, issued: [], ledger: [] }), fenced);
  assert.throws(() => store.evidence.commitTaints({ ekSha256Hex: TEST_EK, fence, epoch: 'e1', taints: [] }), fenced);
  assert.throws(() => store.evidence.requireFence({ ekSha256Hex: TEST_EK, fence }), fenced);
  store.evidence.requireFence({ ekSha256Hex: TEST_EK, fence: newer });
  assert.equal(store.evidence.epoch(TEST_EK)?.verifiedIndex, 5);
  assert.equal(store.evidence.ledgerSize, 5);
  store.evidence.commitEvidence(testCommit(newer, 5, 6));
  assert.equal(store.evidence.epoch(TEST_EK)?.verifiedIndex, 6);
  const backwards = { ...testCommit(newer, 6, 6), epoch: { ...testCommit(newer, 6, 6).epoch, verifiedIndex: 4 } };
  assert.throws(() => store.evidence.commitEvidence(backwards), fenced);
});

test('where one part cannot be written none is', () => {
  const { store, fence } = opened();
  store.evidence.commitEvidence(testCommit(fence, undefined, 2));
  const twice = testCommit(fence, 2, 4);
  const again = { ...twice, issued: [...twice.issued, ...testCommit(fence, undefined, 1).issued] };
  assert.throws(
    () => store.evidence.commitEvidence(again),
    (error) => isLacreError(error, 'server.store.failed'),
  );
  assert.equal(store.evidence.epoch(TEST_EK)?.verifiedIndex, 2);
  assert.equal(store.evidence.ledgerSize, 2);
  assert.equal(store.evidence.activeSerials(TEST_TIME).length, 2);
});

test('a node that was taken out of the inventory commits nothing', () => {
  const { store, fence } = opened();
  store.evidence.commitEvidence(testCommit(fence, undefined, 1));
  store.nodes.remove(TEST_EK);
  assert.throws(
    () => store.evidence.commitEvidence(testCommit(fence, 1, 2)),
    (error) => isLacreError(error, 'server.node.missing'),
  );
  assert.equal(store.evidence.epoch(TEST_EK), undefined);
  assert.equal(
    store.evidence.serial(`f${'0'.repeat(31)}`)?.spiffeId,
    'spiffe://lab.example/orders',
    'serials outlive the node',
  );
});

test('a new epoch forgets taints and workloads of the old one', () => {
  const { store, fence } = opened();
  const taint = { domain: 'd1', logIndex: 0, finding: new Uint8Array([1]) };
  store.evidence.commitEvidence(testCommit(fence, undefined, 2, { taints: [taint] }));
  const next = testCommit(fence, 2, 2);
  store.evidence.commitEvidence({ ...next, epoch: { ...next.epoch, epoch: 'e2', verifiedIndex: 1 } });
  assert.deepEqual(store.evidence.taints(TEST_EK, 'e1'), []);
  assert.equal(store.evidence.epoch(TEST_EK)?.epoch, 'e2');
});

test('withdrawal marks what is valid yet, once, and says which', () => {
  const { store, fence } = opened();
  store.evidence.commitEvidence(testCommit(fence, undefined, 3));
  const later = new Date(TEST_TIME.getTime() + 1000);
  assert.equal(store.evidence.withdraw(TEST_EK, 'c1', later).length, 3);
  assert.equal(store.evidence.withdraw(TEST_EK, 'c1', later).length, 0);
  assert.equal(store.evidence.withdrawnSerials(later).length, 3);
  assert.equal(store.evidence.activeSerials(later).length, 0);
  const end = new Date(TEST_TIME.getTime() + 301_000);
  assert.equal(store.evidence.withdrawnSerials(end).length, 0);
  assert.equal(store.evidence.pruneSerials(end), 3);
});

test('withdrawing a node spares the agent only where that is asked', () => {
  const { store, fence } = opened();
  const agent = { ...testCommit(fence, undefined, 1).issued[0], serialHex: 'aa', containerId: '' } as const;
  const issued = [agent, { ...agent, serialHex: 'bb', containerId: 'c1' }] as unknown as Parameters<
    Store['evidence']['commitIssued']
  >[0]['issued'];
  store.evidence.commitIssued({ ekSha256Hex: TEST_EK, fence, issued, ledger: [] });
  const serials = (rows: { serialHex: string }[]) => rows.map(({ serialHex }) => serialHex);
  assert.deepEqual(serials(store.evidence.withdrawNode(TEST_EK, TEST_TIME, false)), ['bb']);
  assert.deepEqual(serials(store.evidence.withdrawNode(TEST_EK, TEST_TIME, true)), ['aa']);
});
