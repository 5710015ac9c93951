import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ImageReference } from './reference/image-reference.ts';
import { hostFromRun, mountOf, readSample, type SampleReader } from './sample-fixture.ts';
import { filesOf, IMAGE, Scene } from './scene-fixture.ts';

const read: SampleReader = (sample, name) =>
  readFileSync(join(import.meta.dirname, '../../vectors/appraisal', sample, name));
const sample = readSample(read, 'sealed');
const reference = hostFromRun(read, 'sealed', sample);
const BASE = 200_000;
const SERVICE: ImageReference = {
  ...IMAGE,
  entrypoint: ['/usr/bin/python3.13', '/srv/main.py'],
  entrypointPath: '/usr/bin/python3.13',
  files: filesOf({ '/usr/bin/python3.13': 'python', '/srv/main.py': 'service', '/lib/libc.so.6': 'libc' }),
};

/** Another approved image that holds these files. */
const holding = (files: { readonly [path: string]: string }): ImageReference => ({
  ...IMAGE,
  manifestDigest: `sha256:${'9'.repeat(64)}`,
  files: filesOf(files),
});

/** What the verdict says of the image: proven, claimed, or nothing where it is not trusted. */
function saidOf(s: Scene, c: ReturnType<Scene['container']>): string | undefined {
  const verdict = s.judge(c);
  assert.ok(verdict.trusted, JSON.stringify(verdict.findings));
  const said = verdict.selectors.filter((selector) => /^lacre:image:(proven|claimed)$/.test(selector));
  assert.equal(said.length, 1);
  return said[0]?.slice('lacre:image:'.length);
}

function running(
  others: readonly ImageReference[] = [],
  image = IMAGE,
): { s: Scene; c: ReturnType<Scene['container']> } {
  const s = new Scene(sample, reference).start();
  for (const one of [image, ...others]) s.images.set(one.manifestDigest, one);
  const argv = [...image.entrypoint, ...(image === IMAGE ? ['serve'] : [])];
  const c = s.container('orders', BASE, { argv });
  for (const path of [image.entrypointPath]) s.ran(BASE, path, path === '/app/orders' ? 'orders' : 'python');
  return { s, c };
}

test('an image is proven by a file that ran and that no other approved image has', () => {
  const { s, c } = running([holding({ '/app/orders': 'another build' })]);
  assert.equal(saidOf(s, c), 'proven');
});

test('an image all of whose files that ran are in another image too is claimed, until one runs that is not', () => {
  const { s, c } = running([holding({ '/app/orders': 'orders' })]);
  assert.equal(saidOf(s, c), 'claimed');
  s.ran(BASE, '/bin/sh', 'shell');
  assert.equal(saidOf(s, c), 'proven');
});

test('the same content at another path sets no image apart from one that has it there', () => {
  const { s, c } = running([holding({ '/opt/orders': 'orders' })]);
  assert.equal(saidOf(s, c), 'proven');
});

test('an interpreter proves no image, though no other has it; what it reads does, where reads are covered', () => {
  const { s, c } = running([holding({ '/bin/app': 'app' })], SERVICE);
  s.ran(BASE, '/lib/libc.so.6', 'libc');
  assert.equal(saidOf(s, c), 'claimed');
  s.ran(BASE, '/srv/main.py', 'service', { pcr: 13 });
  assert.equal(saidOf(s, c), 'proven');
});

test('what an interpreter read on a writable root proves nothing', () => {
  const s = new Scene(sample, reference).start();
  s.images.set(SERVICE.manifestDigest, SERVICE);
  const mounts = [mountOf('/', 'overlay', 'root', { peer: '0:1000' })];
  const c = s.container('orders', BASE, { argv: [...SERVICE.entrypoint], rootReadOnly: false, mounts });
  s.ran(BASE, '/usr/bin/python3.13', 'python').ran(BASE, '/srv/main.py', 'service', { pcr: 13 });
  assert.equal(saidOf(s, c), 'claimed');
});

test('a range that another container had before proves no image: what ran there may be its own', () => {
  const { s, c } = running();
  assert.equal(saidOf(s, c), 'proven');
  s.stop(c);
  const next = s.container('next', BASE);
  assert.equal(saidOf(s, next), 'claimed');
});

test('a container that cannot be told from others proves no image', () => {
  const s = new Scene(sample, reference).start();
  const c = s.container('orders', undefined);
  s.ran(0, '/app/orders', 'orders');
  assert.equal(saidOf(s, c), 'claimed');
});
