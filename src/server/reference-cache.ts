import { type ImageReference, imageReferenceOf } from '../appraisal/reference/image-reference.ts';
import type { ServerDeps } from './server-deps.ts';
import type { Store } from './store.ts';

/** Images kept ready; each costs about 100 bytes a file. */
const MAX_IMAGES = 512;

/**
 * Reference values in the form that appraisal takes, made once from what the store holds. One for each store: what the
 * admin API changes is forgotten at once.
 */
export class ReferenceCache {
  static readonly #caches = new WeakMap<Store, ReferenceCache>();
  readonly #store: Store;
  readonly #images = new Map<string, ImageReference | undefined>();

  private constructor({ store, events }: Pick<ServerDeps, 'store' | 'events'>) {
    this.#store = store;
    events.prependListener('referencesChanged', ({ image }) => {
      if (image !== undefined) this.#images.delete(image);
    });
  }

  static of(deps: Pick<ServerDeps, 'store' | 'events'>): ReferenceCache {
    let cache = ReferenceCache.#caches.get(deps.store);
    if (cache === undefined) ReferenceCache.#caches.set(deps.store, (cache = new ReferenceCache(deps)));
    return cache;
  }

  /** Approved reference values of an image by its manifest digest; undefined: nobody approved it. */
  image(manifestDigest: string): ImageReference | undefined {
    if (this.#images.has(manifestDigest)) return this.#images.get(manifestDigest);
    const approved = this.#store.images.get(manifestDigest);
    const image =
      approved === undefined
        ? undefined
        : imageReferenceOf(approved.reference, this.#store.images.files(manifestDigest));
    if (this.#images.size >= MAX_IMAGES) this.#images.delete(this.#images.keys().next().value ?? '');
    this.#images.set(manifestDigest, image);
    return image;
  }
}
