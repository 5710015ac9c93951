import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ContainerEvidence } from './container-evidence.ts';
import { EpochAppraisal } from './epoch-appraisal.ts';
import { isImageProven } from './image-proof.ts';
import type { ImageReference } from './reference/image-reference.ts';
import { hostFromRun, mountOf, readSample, type SampleReader } from './sample-fixture.ts';
import { digestHex, filesOf, IMAGE, Scene } from './scene-fixture.ts';
import type { Measured } from './sighting.ts';

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

/** Whether a file at /only, seen in a range, proves the image: by its facts, in a domain of its own. */
function proves(
  seen: readonly Partial<Measured>[],
  { entrypointPath = '/app/orders', exact = true, reads = true, rangeUse = 'fresh' as 'fresh' | 'reused' } = {},
): boolean {
  const epoch = new EpochAppraisal();
  const fileDigest = { algorithm: 'sha256', hex: digestHex('only') };
  const usual = { pcr: 10, template: 'evm-sig', kind: 'file', digestState: 'usable', iuid: BASE } as const;
  for (const [index, fields] of seen.entries())
    epoch.feed(
      { ...usual, index, path: '/only', fileDigest, violation: false, ...fields },
      { kind: 'domain', id: 'd' },
    );
  const image = { ...IMAGE, entrypointPath };
  const isDistinctive = (of: ImageReference, path: string, hex: string) =>
    of === image && path === '/only' && [digestHex('only'), ''].includes(hex);
  const evidence = { standing: { rangeUse }, epoch, domain: { id: 'd' }, isDistinctive };
  return isImageProven({ evidence: evidence as unknown as ContainerEvidence, image }, { exact, reads });
}
const RAN = { pcr: 10 };
const READ = { pcr: 13 };

test('a file proves an image where it was executed, or read under coverage of reads, with a digest', () => {
  assert.equal(proves([RAN]), true);
  assert.equal(proves([READ]), true);
  assert.equal(proves([{ path: '/else' }, RAN]), true, 'one is enough');
  assert.equal(proves([]), false);
  assert.equal(proves([READ], { reads: false }), false);
  assert.equal(proves([RAN], { reads: false }), true);
  assert.equal(proves([{ pcr: 14 }]), false);
  for (const digestState of ['zero', 'refused'] as const)
    assert.equal(proves([{ fileDigest: undefined, digestState }]), false, digestState);
  assert.equal(proves([{ path: '/else' }]), false);
  assert.equal(proves([RAN], { exact: false }), false);
  assert.equal(proves([RAN], { rangeUse: 'reused' }), false);
});

test('the first 1024 files of a domain are looked at', () => {
  const others = (count: number) => Array.from({ length: count }, (_, n) => ({ path: `/else${n}` }));
  assert.equal(proves([...others(1023), RAN]), true);
  assert.equal(proves([...others(1024), RAN]), false);
});

const INTERPRETERS = `sh ash bash dash ksh zsh busybox toybox env awk gawk mawk perl python pypy ruby node nodejs deno bun php
  php-cgi php-fpm java lua luajit tclsh guile Rscript R erl beam.smp dotnet mono wasmtime tini dumb-init catatonit
  python3.13 perl5.36.0 node-22 php-fpm8.2 busybox-1.36.1 ld-linux ld-linux-x86-64.so.2 ld-musl ld-musl-x86_64.so.1`;

test('what an interpreter executes proves nothing, whatever its version; what it reads does', () => {
  for (const name of INTERPRETERS.split(/\s+/)) {
    const entrypointPath = `/usr/bin/${name}`;
    assert.equal(proves([RAN], { entrypointPath }), false, name);
    assert.equal(proves([READ], { entrypointPath }), true, name);
    assert.equal(proves([READ], { entrypointPath, reads: false }), false, name);
  }
  for (const name of ['push', 'shell', 'orders', 'sh/orders', 'python3-config', 'beamxsmp', 'R2D2'])
    assert.equal(proves([RAN], { entrypointPath: `/usr/bin/${name}` }), true, name);
});
