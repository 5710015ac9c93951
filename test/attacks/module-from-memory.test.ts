import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bufferEntry } from '../simulator/list-entry.ts';
import { containerOf, digestOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Root of the host (A2) loads a kernel module: from a file that nobody approved, or by init_module(2) from memory, which newer kernels
// log as data of their own.

const skip = skipWithoutSoftwareTpm();

test('a module that is no reference value ends the trust in the host', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await node.kernel.measureHost({ path: '/tmp/rootkit.ko', sha256: digestOf('rootkit') });
  const outcome = await session.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.host.refused');
  assert.match(outcome.value.sentence, /rootkit\.ko/);
  session.close();
});

test('so does one that the kernel was given in memory', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node } = fixture;
  const container = containerOf(1);
  const session = await fixture.session(container);
  assert.equal((await session.ask(requestOf(container))).case, 'identities');
  await node.kernel.append(bufferEntry('init_module', Buffer.from('\x7fELF rootkit')));
  const outcome = await session.ask(requestOf(container));
  assert.ok(outcome.case === 'refusal');
  assert.equal(outcome.value.code, 'appraisal.host.refused');
  assert.match(outcome.value.sentence, /ima\.(module|data)\.unknown/);
  session.close();
});
