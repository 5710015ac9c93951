import { toBinary } from '@bufbuild/protobuf';
import { sha256Hex } from '../bytes/sha256.ts';
import { NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import type { AttestMessage, ListSent } from './batcher.ts';
import { observeNode } from './evidence-observation.ts';
import type { MeasurementList } from './measurement-list.ts';

/** A container as it was last seen: its canonical bytes and their SHA-256 in hexadecimal. */
export interface SeenContainer {
  readonly bytes: Uint8Array;
  readonly sha256Hex: string;
}

/** All containers of the node. */
export interface NodeContainers {
  /** As last seen, by id. */
  seen(): ReadonlyMap<string, SeenContainer>;
  /** Another number after each change of what is seen. */
  version(): number;
  /** Looks again. Where that can't be done, what was seen before stays, and the fault is told elsewhere. */
  look(): Promise<void>;
}

export interface EvidenceDeps {
  readonly list: MeasurementList;
  readonly containers: NodeContainers;
  readonly pollIntervalMs: number;
  send(message: AttestMessage): Promise<void>;
  /** Is called before the server is told that a container is gone. */
  gone(containerId: string): void;
}

/** One message holds containers up to about this size. */
const CONTAINER_MESSAGE_BYTES = 2 * 1024 * 1024;
const OBSERVE_EVERY_MS = 5_000;

/** What a session tells the server of list, containers and node: each in order, and nothing twice. */
export class EvidenceFeed {
  readonly #deps: EvidenceDeps;
  /** SHA-256 of what the server knows of a container, by id; undefined: nothing was sent in this session. */
  #sent: Map<string, string> | undefined;
  #digests: ReadonlySet<string> = new Set();
  #sentVersion = Number.NaN;
  #listSent: ListSent;
  #observed = '';
  #observedAtMs = Number.NEGATIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: EvidenceDeps) {
    this.#deps = deps;
    this.#listSent = { bytes: deps.list.position, atMs: Number.NEGATIVE_INFINITY };
  }

  listSent(): ListSent {
    return this.#listSent;
  }

  /** Reads the list to its end, then the containers; sends the containers, then the list. */
  advance(): Promise<void> {
    return this.#exclusive(async () => {
      await this.#sendObservation();
      for (;;) {
        const bytes = await this.#deps.list.read();
        // New entries may be of a container that nobody has seen yet.
        if (bytes.length > 0 || this.#sent === undefined) await this.#deps.containers.look();
        await this.#sendContainers();
        if (bytes.length === 0) return;
        const offset = this.#listSent.bytes;
        const onItsWay = this.#deps.send({ case: 'list', value: { offset: BigInt(offset), data: bytes } });
        this.#listSent = { bytes: offset + bytes.length, atMs: performance.now() };
        await onItsWay;
        this.#listSent = { ...this.#listSent, atMs: performance.now() };
      }
    });
  }

  /** Resolves once the server was told of this container, as far as it is there: a record that names it is understood only then. */
  async tell(containerSha256Hex: string): Promise<void> {
    if (this.knows(containerSha256Hex)) return;
    await this.#exclusive(async () => {
      if (!this.knows(containerSha256Hex)) await this.#sendContainers();
    });
  }

  /** Sends what is new every poll interval, until `signal` aborts. Rejects where it can't be read or sent. */
  poll(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let isSending = false;
    const turn = () => {
      if (isSending) return;
      try {
        const grew = this.#deps.list.grew();
        if (!grew && !this.#hasNews()) return;
        isSending = true;
        const sent = grew ? this.advance() : this.#exclusive(() => this.#look());
        sent.then(() => {
          isSending = false;
        }, reject);
      } catch (error) {
        reject(error);
      }
    };
    const timer = setInterval(turn, this.#deps.pollIntervalMs);
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
    else turn();
    return promise.finally(() => clearInterval(timer));
  }

  /** Whether containers changed, or it is time to look at the node. */
  #hasNews(): boolean {
    return this.#deps.containers.version() !== this.#sentVersion || this.#isObservationDue();
  }

  #isObservationDue(): boolean {
    return performance.now() - this.#observedAtMs >= OBSERVE_EVERY_MS;
  }

  /** Whether the server was told of this container, as it is in this digest. */
  knows(containerSha256Hex: string): boolean {
    return this.#digests.has(containerSha256Hex);
  }

  async #look(): Promise<void> {
    await this.#sendObservation();
    await this.#sendContainers();
  }

  async #sendContainers(): Promise<void> {
    const version = this.#deps.containers.version();
    if (version === this.#sentVersion) return;
    const known = this.#sent;
    const now = this.#deps.containers.seen();
    const changed: Uint8Array[] = [];
    const next = new Map<string, string>();
    for (const [id, { bytes, sha256Hex }] of now) {
      next.set(id, sha256Hex);
      if (known?.get(id) !== sha256Hex) changed.push(bytes);
    }
    const gone = [...(known?.keys() ?? [])].filter((id) => !now.has(id));
    if (known !== undefined && changed.length === 0 && gone.length === 0) {
      this.#sentVersion = version;
      return;
    }
    for (const id of gone) this.#deps.gone(id);
    const parts = partsOf(changed);
    for (const [index, containers] of parts.entries()) {
      const last = index === parts.length - 1;
      const value = { containers, gone: last ? gone : [], complete: last && known === undefined };
      await this.#deps.send({ case: 'containers', value });
    }
    this.#sent = next;
    this.#digests = new Set(next.values());
    this.#sentVersion = version;
  }

  async #sendObservation(): Promise<void> {
    if (!this.#isObservationDue()) return;
    this.#observedAtMs = performance.now();
    const value = observeNode();
    const digest = sha256Hex(toBinary(NodeObservationSchema, value));
    if (digest === this.#observed) return;
    await this.#deps.send({ case: 'observation', value });
    this.#observed = digest;
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

/** Containers in messages of bounded size; at least one message. */
function partsOf(containers: readonly Uint8Array[]): Uint8Array[][] {
  const parts: Uint8Array[][] = [[]];
  let bytes = 0;
  for (const container of containers) {
    if (bytes + container.length > CONTAINER_MESSAGE_BYTES && bytes > 0) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(container);
    bytes += container.length;
  }
  return parts;
}
