import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeContainer, encodeContainer, encodeRecord, makeRecord } from '../../src/container/record.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A process of one container (A1 with an agent that errs, or A2) is told as the caller of another: the other's record under a key that
// this one holds, or a record that names one container and describes another.

const skip = skipWithoutSoftwareTpm();

test('a record is of one container as the server was told it', { skip }, async () => {
  await using fixture = await Fixture.start();
  const [good, other] = [containerOf(1), containerOf(2, { manifestDigest: `sha256:${'d4'.repeat(32)}` })];
  const session = await fixture.session(good, other);
  assert.equal((await session.ask(requestOf(good))).case, 'identities');
  const { sha256 } = decodeContainer(encodeContainer(other));
  const mixed = makeRecord({
    containerSha256: sha256,
    containerId: good.id,
    executable: '/bin/app',
    isInitFamily: true,
  });
  for (const [record, code] of [
    [encodeRecord(mixed), 'server.workload.unknown'],
    [requestOf(other).record, 'appraisal.image.unknown'],
    [requestOf(containerOf(9)).record, 'server.workload.unknown'],
  ] as const) {
    const outcome = await session.ask(requestOf(good, { record }));
    assert.ok(outcome.case === 'refusal');
    assert.equal(outcome.value.code, code);
  }
  session.close();
});
