/** Child of store.test.ts: commits evidence without end, and says each number once its commit has returned. */
import { writeSync } from 'node:fs';
import { Store } from './store.ts';
import { addTestNode, TEST_EK, testCommit } from './store-fixture.ts';

const store = Store.open(process.argv[2] ?? '');
if (store.nodes.get(TEST_EK) === undefined) addTestNode(store.nodes);
const fence = store.nodes.nextFence(TEST_EK);
let at = store.evidence.epoch(TEST_EK)?.verifiedIndex;
for (;;) {
  const next = (at ?? 0) + 3;
  store.evidence.commitEvidence(testCommit(fence, at, next));
  at = next;
  writeSync(1, `${next}\n`);
}
