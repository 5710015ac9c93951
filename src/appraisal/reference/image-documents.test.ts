import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageConfig, parseImageManifest } from './image-documents.ts';

const SHA256 = `sha256:${'0a'.repeat(32)}`;
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const blob = { digest: SHA256, size: 0 };
const MANIFEST = { schemaVersion: 2, config: blob, layers: [blob] };
const ROOTFS = { type: 'layers', diff_ids: [SHA256] };
const malformed = { code: 'appraisal.image.malformed' };

test('a manifest names its configuration and its layers', () => {
  const more = { ...blob, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' };
  assert.deepEqual(parseImageManifest(json({ ...MANIFEST, layers: [more], annotations: {} })), MANIFEST);
  for (const change of [
    { schemaVersion: 1 },
    { schemaVersion: 3 },
    { config: undefined },
    { layers: undefined },
    { layers: {} },
    ...[-1, 0.5, '1', undefined].map((size) => ({ config: { ...blob, size } })),
  ])
    assert.throws(() => parseImageManifest(json({ ...MANIFEST, ...change })), malformed, JSON.stringify(change));
});

test('a digest is sha256: and 64 small hexadecimal digits', () => {
  for (const digest of [
    '',
    'sha256:',
    SHA256.slice(0, -1),
    `${SHA256}0`,
    `x${SHA256}`,
    SHA256.toUpperCase(),
    'md5:1',
  ]) {
    const bad = { ...blob, digest };
    assert.throws(() => parseImageManifest(json({ ...MANIFEST, config: bad })), malformed, digest);
    assert.throws(() => parseImageManifest(json({ ...MANIFEST, layers: [blob, bad] })), malformed, digest);
    assert.throws(() => parseImageConfig(json({ rootfs: { ...ROOTFS, diff_ids: [digest] } })), malformed, digest);
  }
});

test('a configuration says what of a process it wants, and always its layers', () => {
  const process = {
    Entrypoint: ['/a'],
    Cmd: ['b'],
    Env: ['C=d'],
    WorkingDir: '/w',
    User: '1',
    Labels: { e: 'f' },
  };
  assert.deepEqual(parseImageConfig(json({ config: process, rootfs: ROOTFS })).config, process);
  assert.deepEqual(parseImageConfig(json({ config: { Entrypoint: null, User: null }, rootfs: ROOTFS })).config, {
    Entrypoint: [],
    Cmd: [],
    Env: [],
    User: null,
  });
  for (const none of [{}, { config: null }])
    assert.equal(parseImageConfig(json({ ...none, rootfs: ROOTFS })).config ?? undefined, undefined);
  for (const bad of [{ Entrypoint: '/a' }, { Env: [1] }, { WorkingDir: 1 }, { User: 0 }, { Labels: { a: 1 } }])
    assert.throws(() => parseImageConfig(json({ config: bad, rootfs: ROOTFS })), malformed, JSON.stringify(bad));
  for (const rootfs of [undefined, {}, { ...ROOTFS, type: 'other' }, { type: 'layers' }])
    assert.throws(() => parseImageConfig(json({ rootfs })), malformed, JSON.stringify(rootfs));
});

test('what is no JSON in UTF-8 is refused; a refusal says which document, and where', () => {
  const text = new Uint8Array(Buffer.from(`{"config":{"User":"\xff"},"rootfs":${JSON.stringify(ROOTFS)}}`, 'latin1'));
  assert.throws(() => parseImageConfig(text), { ...malformed, message: /its configuration is no JSON/ });
  assert.throws(() => parseImageManifest(Buffer.from('{')), { ...malformed, message: /its manifest is no JSON/ });
  assert.throws(() => parseImageManifest(json([])), { ...malformed, message: /its manifest at the top: / });
  assert.throws(() => parseImageConfig(json({ config: { Env: [1] }, rootfs: ROOTFS })), {
    ...malformed,
    message: /its configuration at config\.Env\.0: /,
  });
});
