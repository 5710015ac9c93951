import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EnvironmentName_Relation as Relation } from '../../src/proto/lacre/v1/record_pb.ts';
import { containerOf, Fixture, requestOf } from '../simulator/scripted-node.ts';
import { skipWithoutSoftwareTpm } from '../simulator/software-tpm.ts';

// Whoever may start containers sets a variable that makes the loader or an interpreter of a good image run code of his own. No file
// that the kernel measures changes.

const skip = skipWithoutSoftwareTpm();
const names = ['LD_PRELOAD', 'NODE_OPTIONS', 'PYTHONSTARTUP', 'JAVA_TOOL_OPTIONS', 'BASH_ENV', 'PERL5OPT', 'RUBYOPT'];

test('an entry that asks for the image as it is refuses each, by its name', { skip }, async () => {
  await using fixture = await Fixture.start();
  const { node, server } = fixture;
  await server.entries.batchDeleteEntry({ ids: [fixture.entryId] });
  await server.createEntry('/orders', node.spiffeId, ['lacre:image-name:registry.test/app:1', 'lacre:config:image']);
  const honest = containerOf(1);
  const session = await fixture.session(honest);
  assert.equal((await session.ask(requestOf(honest))).case, 'identities');
  for (const [index, name] of names.entries()) {
    const variable = { $typeName: 'lacre.v1.EnvironmentName' as const, name, relation: Relation.ADDED };
    const container = containerOf(index + 2, { environment: [variable] });
    await fixture.run(container);
    session.tellMore(container);
    const outcome = await session.ask(requestOf(container));
    assert.ok(outcome.case === 'refusal', name);
    assert.equal(outcome.value.code, 'server.entry.none');
    const codes = outcome.value.verdict?.findings.map(({ code }) => code);
    assert.ok(codes?.includes('appraisal.config.interpreter'), `${name}: ${codes?.join()}`);
  }
  assert.equal((await session.ask(requestOf(honest))).case, 'identities', 'who runs as the image says keeps its own');
  session.close();
});
