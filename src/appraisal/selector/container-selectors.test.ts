import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hostFromRun, readSample, type SampleReader } from '../sample-fixture.ts';
import { IMAGE, NOW, Scene } from '../scene-fixture.ts';
import { concludeVerdict } from '../verdict.ts';
import { type ContainerFacts, containerSelectors } from './container-selectors.ts';

const read: SampleReader = (sample, name) =>
  readFileSync(join(import.meta.dirname, '../../../vectors/appraisal', sample, name));
const sample = readSample(read, 'sealed');
const reference = hostFromRun(read, 'sealed', sample);

/** Of a closed container on a host that measures reads, all of which are explained. */
function factsOf({ rootReadOnly = true } = {}): ContainerFacts {
  const scene = new Scene(sample, reference).start();
  const evidence = scene.evidenceOf(scene.container('orders', 200_000, { rootReadOnly }));
  return { evidence, image: IMAGE, exact: true, readsProven: true, changed: false };
}

const coversReads = (facts: ContainerFacts) => containerSelectors(facts).includes('lacre:coverage:read');

test('reads are covered where all of it holds: exact, every read explained, a read-only root, a policy that measures them', () => {
  const facts = factsOf();
  assert.ok(coversReads(facts));
  assert.ok(!coversReads({ ...facts, exact: false }));
  assert.ok(!coversReads({ ...facts, readsProven: false }));
  assert.ok(!coversReads(factsOf({ rootReadOnly: false })));
  const { evidence } = facts;
  const selectors = evidence.hostVerdict.selectors.filter((selector) => selector !== 'lacre:measures:reads');
  const hostVerdict = concludeVerdict('host', [], selectors, NOW);
  assert.ok(!coversReads({ ...facts, evidence: { ...evidence, hostVerdict } }));
});

test('only a closed container is called so, and only an image with a program has one', () => {
  const facts = factsOf();
  const kinds = (some: ContainerFacts) =>
    containerSelectors(some).filter((selector) => /^lacre:(container|entrypoint):/.test(selector));
  assert.deepEqual(kinds(facts), ['lacre:entrypoint:/app/orders', 'lacre:container:closed']);
  const standing = { ...facts.evidence.standing, closed: false };
  assert.deepEqual(
    kinds({ ...facts, evidence: { ...facts.evidence, standing }, image: { ...IMAGE, entrypointPath: '' } }),
    [],
  );
});
