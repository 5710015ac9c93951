import { type HostReference, hostReferenceOf } from '../appraisal/reference/host-reference.ts';
import { type ImageReference, imageReferenceOf } from '../appraisal/reference/image-reference.ts';
import type { ServerDeps } from './server-deps.ts';
import type { Store } from './store.ts';

/** Images kept ready; each costs about 100 bytes a file, and once a list was held against it 150 to 250. */
const MAX_IMAGES = 512;
/** Answers about single files; each costs some 200 bytes. */
const MAX_DISTINCTIVE = 65_536;

/**
 * Reference values in the form that appraisal takes, made once from what the store holds. One for each store: what the
 * admin API changes is forgotten at once.
 */
export class ReferenceCache {
  static readonly #caches = new WeakMap<Store, ReferenceCache>();
  readonly #store: Store;
  readonly #images = new Map<string, ImageReference | undefined>();
  readonly #hosts = new Map<string, HostReference>();
  /** Configuration digest → manifest digest of the first image that has it; undefined: to be made anew. */
  #manifests: Map<string, string> | undefined;
  /** Answers of `isDistinctive`, by image, path and digest, until any image changes. */
  readonly #distinctive = new Map<string, boolean>();

  private constructor({ store, events }: Pick<ServerDeps, 'store' | 'events'>) {
    this.#store = store;
    events.prependListener('referencesChanged', ({ image, host }) => {
      if (image !== undefined) {
        this.#forget(image);
      }
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

  /**
   * Approved reference values of an image by its manifest digest, or by its configuration's: of several with one
   * configuration, which hold the same files, the first. Undefined: nobody approved it.
   */
  readonly image = (digest: string): ImageReference | undefined => {
    if (this.#images.has(digest)) return this.#images.get(digest);
    const { images } = this.#store;
    const approved = images.get(digest) ?? images.get(this.#manifestOf(digest));
    const image = approved && imageReferenceOf(approved.reference, images.files(approved.reference.manifestDigest));
    if (this.#images.size >= MAX_IMAGES) this.#images.delete(this.#images.keys().next().value ?? '');
    this.#images.set(digest, image);
    return image;
  };

  /**
   * Whether an image has a file with this content at this path, and no other approved image has it there. With more images
   * than are kept ready nothing is: reading all of them for one answer would stall the others.
   */
  readonly isDistinctive = (image: ImageReference, path: string, sha256Hex: string): boolean => {
    const key = `${image.manifestDigest} ${sha256Hex} ${path}`;
    const known = this.#distinctive.get(key);
    if (known !== undefined) return known;
    const has = (one: ImageReference | undefined) => one?.files.get(path)?.has(sha256Hex) === true;
    const others = this.#store.images.keys().filter((digest) => digest !== image.manifestDigest);
    const answer = has(image) && others.length < MAX_IMAGES && !others.some((digest) => has(this.image(digest)));
    if (this.#distinctive.size >= MAX_DISTINCTIVE) this.#distinctive.clear();
    this.#distinctive.set(key, answer);
    return answer;
  };

  /** Approved reference values that a node may be held against: the named ones, or all where none are named. */
  hosts(name: string): HostReference[] {
    const names = this.#store.hosts.list().map(({ reference }) => reference.name);
    return names.filter((one) => name === '' || one === name).flatMap((one) => this.#host(one) ?? []);
  }

  /** Manifest digest of the first image with this configuration; empty: there is none. */
  #manifestOf(configDigest: string): string {
    this.#manifests ??= new Map(
      this.#store.images
        .list()
        .map(({ reference }) => [reference.configDigest, reference.manifestDigest] as const)
        .reverse(),
    );
    return this.#manifests.get(configDigest) ?? '';
  }

  /** An image was approved or is no longer: it may answer to a digest that nothing answered to. */
  #forget(manifestDigest: string): void {
    for (const [digest, image] of this.#images) {
      if (image === undefined || image.manifestDigest === manifestDigest) this.#images.delete(digest);
    }
    this.#distinctive.clear();
    this.#manifests = undefined;
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
