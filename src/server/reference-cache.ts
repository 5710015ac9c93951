import { type HostReference, hostReferenceOf } from '../appraisal/reference/host-reference.ts';
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
  readonly #hosts = new Map<string, HostReference>();

  private constructor({ store, events }: Pick<ServerDeps, 'store' | 'events'>) {
    this.#store = store;
    events.prependListener('referencesChanged', ({ image, host }) => {
      if (image !== undefined) this.#images.delete(image);
      if (host !== undefined) this.#hosts.delete(host);
    });
  }

  static of(deps: Pick<ServerDeps, 'store' | 'events'>): ReferenceCache {
    let cache = ReferenceCache.#caches.get(deps.store);
    if (cache === undefined) {
      cache = new ReferenceCache(deps);
      ReferenceCache.#caches.set(deps.store, cache);
    }
    return cache;
  }

  /** Approved reference values of an image by its manifest digest; undefined: nobody approved it. */
  readonly image = (manifestDigest: string): ImageReference | undefined => {
    if (this.#images.has(manifestDigest)) return this.#images.get(manifestDigest);
    const approved = this.#store.images.get(manifestDigest);
    const image = approved && imageReferenceOf(approved.reference, this.#store.images.files(manifestDigest));
    if (this.#images.size >= MAX_IMAGES) this.#images.delete(this.#images.keys().next().value ?? '');
    this.#images.set(manifestDigest, image);
    return image;
  };

  /** Approved reference values that a node may be held against: the named ones, or all where none are named. */
  hosts(name: string): HostReference[] {
    const names = this.#store.hosts.list().map(({ reference }) => reference.name);
    return names.filter((one) => name === '' || one === name).flatMap((one) => this.#host(one) ?? []);
  }

  #host(name: string): HostReference | undefined {
    const known = this.#hosts.get(name);
    if (known !== undefined) return known;
    const approved = this.#store.hosts.get(name);
    if (approved === undefined) return undefined;
    const host = hostReferenceOf(approved.reference, this.#store.hosts.files(name));
    this.#hosts.set(name, host);
    return host;
  }
}
