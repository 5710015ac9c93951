import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bufferEntry, imaSigEntry } from '../simulator/list-entry.ts';
import { codeOf, containerOf, digestOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Root of the host (A2) loads another kernel without a reboot: the PCRs keep what the good boot left in them. The kernel that goes logs
// the image that it was given.

const skip = skipWithoutSoftwareTpm();

test('a kernel that was loaded by kexec ends the trust in the host', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await node.kernel.append(bufferEntry('kexec-cmdline', Buffer.from('init=/bin/evil')));
  const outcome = await session.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.host.refused');
  assert.match(outcome.value.sentence, /ima\.kexec\.used/);
  session.close();
  await assert.rejects(node.enrol(fixture.server), (error) => codeOf(error) === 'server.evidence.refused');
});

test('a list that begins anew is another boot, and explains nothing of this one', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  session.close();
  const aggregate = imaSigEntry(10, { path: 'boot_aggregate', sha256: node.kernel.bootAggregate() });
  const init = imaSigEntry(10, { path: '/init', sha256: digestOf('host /init') });
  const fresh = new Uint8Array(Buffer.concat([aggregate.bytes, init.bytes]));
  const begun = await node.attest(fixture.server, fixture.identity);
  begun.tell(container);
  begun.send({ case: 'list', value: { offset: 0n, data: fresh } });
  begun.sentBytes = fresh.length;
  await begun.evidence([requestOf(container)], { listUpTo: 0 });
  const { outcome } = await begun.next('answer');
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'ima.prefix.unexplained');
  begun.close();
});
