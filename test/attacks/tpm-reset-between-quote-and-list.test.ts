import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerOf, digestOf, Fixture, requestOf, uidOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// A quote is made on a clean host; the machine is started again, and does something bad; then the quote is handed in with the
// new list, or the old list with a quote of the new boot.

const skip = skipWithoutSoftwareTpm();

test('quote and list must be of one boot', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  const clean = await node.list();
  session.close();
  await node.reboot();
  ({ identity: fixture.identity } = await node.enrol(fixture.server));
  const after = await node.attest(fixture.server, fixture.identity);
  after.tell(container);
  await node.kernel.measureContainer({ path: '/tmp/miner', sha256: digestOf('miner') }, { uid: uidOf(1) });
  const request = requestOf(container);
  const nonce = await after.nonce();
  const quote = await after.quoteFor([request], nonce);
  after.send({ case: 'list', value: { offset: 0n, data: clean } });
  after.sentBytes = clean.length;
  await after.evidence([request], { nonce, quote, listUpTo: 0, listLength: clean.length });
  const { outcome } = await after.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.prefix.unexplained', outcome.value.sentence);
  after.close();
});
