import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { sha256 } from '../bytes/sha256.ts';
import { type ImageReference, ImageReferenceSchema, ReferenceFileSchema } from '../proto/lacre/v1/admin_pb.ts';
import { ReferenceCache } from './reference-cache.ts';
import type { ServerEvents } from './server-deps.ts';
import { Store } from './store.ts';
import { TEST_TIME } from './store-fixture.ts';

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`;
const hexOf = (content: string) => Buffer.from(sha256(Buffer.from(content))).toString('hex');

/** A store with a cache on it, and what approves and removes as the admin API does. */
function shelf() {
  const store = Store.openInMemory();
  const events: ServerEvents = new EventEmitter();
  const cache = ReferenceCache.of({ store, events });
  const told = (letter: string) => events.emit('referencesChanged', { image: digestOf(letter) });
  return {
    cache,
    approve(letter: string, files: { readonly [path: string]: string }): void {
      const rows = Object.entries(files).map(([path, content]) =>
        create(ReferenceFileSchema, { path, sha256: sha256(Buffer.from(content)), mode: 0o755 }),
      );
      const reference: ImageReference = create(ImageReferenceSchema, {
        manifestDigest: digestOf(letter),
        configDigest: digestOf('c'),
        fileCount: BigInt(rows.length),
      });
      store.images.put(reference, rows, TEST_TIME);
      told(letter);
    },
    remove(letter: string): void {
      store.images.remove(digestOf(letter));
      told(letter);
    },
    isDistinctive(letter: string, path: string, content: string): boolean {
      const image = cache.image(digestOf(letter));
      assert.ok(image);
      return cache.isDistinctive(image, path, hexOf(content));
    },
    [Symbol.dispose]: () => store.close(),
  };
}

test('a file sets an image apart only while no other approved image has it at that path', () => {
  using shelves = shelf();
  shelves.approve('a', { '/bin/app': 'app', '/bin/sh': 'shell' });
  assert.ok(shelves.isDistinctive('a', '/bin/app', 'app'));
  assert.ok(!shelves.isDistinctive('a', '/bin/app', 'another'), 'the image itself has no such file');
  shelves.approve('b', { '/bin/app': 'app', '/bin/sh': 'other shell' });
  assert.ok(!shelves.isDistinctive('a', '/bin/app', 'app'));
  assert.ok(shelves.isDistinctive('a', '/bin/sh', 'shell'));
  shelves.remove('b');
  assert.ok(shelves.isDistinctive('a', '/bin/app', 'app'));
});
