import { setImmediate as nextTurn } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { equalBytes } from '../bytes/equal.ts';
import { ClaimPool } from '../container/claim-pool.ts';
import type { Domain } from '../container/domain.ts';
import { type BookMemory, DomainBook, type Standing } from '../container/domain-book.ts';
import { type ClaimedContainer, type ClaimedRecord, decodeContainer } from '../container/record.ts';
import { LacreError } from '../lacre-error.ts';
import type { ContainerChange } from '../proto/lacre/v1/node_pb.ts';
import { type NodeObservation, NodeObservationSchema } from '../proto/lacre/v1/record_pb.ts';
import { LIMITS } from './limits.ts';

/** One for all nodes. */
const claims = new ClaimPool();

/** Containers that are decoded without a pause: a few milliseconds. */
const CONTAINERS_PER_TURN = 64;

interface Former {
  readonly sha256: Uint8Array;
  readonly until: number;
}

/**
 * What the node says of its containers and of itself, through one session; the book of domains remembers the rest of
 * the epoch. Nothing reaches the book before the node has told all of its containers and what it observes of itself:
 * a miss there counts for the epoch.
 */
export class NodeContainers {
  readonly #uidPoolBase: number;
  readonly #limit: number;
  readonly #running = new Map<string, ClaimedContainer>();
  readonly #former = new Map<string, Former[]>();
  #observation: NodeObservation | undefined;
  #complete = false;
  /** Something was told since the book was last applied. */
  #isNew = true;
  #book: DomainBook;
  #domains: ReadonlyMap<string, Domain> | undefined;

  constructor(uidPoolBase: number, limit: number) {
    this.#uidPoolBase = uidPoolBase;
    this.#limit = limit;
    this.#book = new DomainBook(uidPoolBase);
  }

  get book(): DomainBook {
    return this.#book;
  }

  get isComplete(): boolean {
    return this.#complete;
  }

  get observation(): NodeObservation {
    return this.#observation ?? create(NodeObservationSchema);
  }

  /** Returns the ids of those that are new or changed. Codes: container.*, server.limit. */
  async change(change: ContainerChange, now: Date): Promise<string[]> {
    if (change.containers.length + change.gone.length > 2 * this.#limit) throw tooMany(this.#limit);
    const told: ClaimedContainer[] = [];
    for (const bytes of change.containers) {
      told.push(claims.share(decodeContainer(bytes)));
      if (told.length % CONTAINERS_PER_TURN === 0) await nextTurn();
    }
    for (const id of change.gone) {
      this.#running.delete(id);
      this.#former.delete(id);
    }
    for (const container of told) {
      this.#keepFormer(container.claim.id, now);
      this.#running.set(container.claim.id, container);
    }
    if (this.#running.size > this.#limit) throw tooMany(this.#limit);
    this.#complete ||= change.complete;
    this.#isNew = true;
    this.apply(false);
    return told.map(({ claim }) => claim.id);
  }

  observe(observation: NodeObservation): void {
    if (observation.kernel.length + observation.lockdown.length > LIMITS.textBytes) {
      throw new LacreError('server.limit', 'the observation of the node holds longer texts than any is');
    }
    this.#observation = observation;
    this.#isNew = true;
    this.apply(false);
  }

  /** Goes on with the book of the same epoch. */
  carry(memory: BookMemory): void {
    this.#book = new DomainBook(this.#uidPoolBase, memory);
    this.#domains = undefined;
    this.#isNew = true;
    this.apply(false);
  }

  /** @param force judge with what there is: a quote has come, and what was not told by then counts as missing. */
  apply(force: boolean): void {
    if (!this.#isNew || (!force && (!this.#complete || this.#observation === undefined))) return;
    this.#isNew = false;
    const changed = [...this.#running.values()];
    this.#domains = undefined;
    this.#book.apply({ changed, gone: [], complete: true, observation: this.observation });
  }

  get(containerId: string): ClaimedContainer | undefined {
    return this.#running.get(containerId);
  }

  /** A record to be held for as long as its caller holds what it got. */
  keptRecord(record: Pick<ClaimedRecord, 'claim'>): Pick<ClaimedRecord, 'claim'> {
    return claims.shareRecord(record, this.#running.get(record.claim.containerId));
  }

  claims(): ClaimedContainer['claim'][] {
    return [...this.#running.values()].map(({ claim }) => claim);
  }

  ids(): string[] {
    return [...this.#running.keys()];
  }

  /**
   * The container that a record names, where the record is of its present state, or of one that it was in until a few
   * seconds ago: engines and health checks change containers while requests are on their way.
   * Codes: server.workload.unknown.
   */
  named(record: Pick<ClaimedRecord, 'claim'>, now: Date): ClaimedContainer {
    const { containerId, containerSha256 } = record.claim;
    const container = this.#running.get(containerId);
    if (container === undefined) throw unknown('a container that the agent has not told', containerId);
    const former = this.#former.get(containerId) ?? [];
    const fits = ({ sha256, until }: Former) => until > now.getTime() && equalBytes(sha256, containerSha256);
    if (!equalBytes(container.sha256, containerSha256) && !former.some(fits)) {
      throw unknown('a state of the container that the agent has not told', containerId);
    }
    return container;
  }

  /** Every domain of the epoch, by id; the same map until something changes. */
  domains(): ReadonlyMap<string, Domain> {
    this.#domains ??= new Map(this.#book.domains().map((domain) => [domain.id, domain]));
    return this.#domains;
  }

  placed(containerId: string): { readonly standing: Standing; readonly domain: Domain } | undefined {
    const standing = this.#book.standing(containerId);
    const domain = standing && this.domains().get(standing.domainId);
    return standing === undefined || domain === undefined ? undefined : { standing, domain };
  }

  #keepFormer(containerId: string, now: Date): void {
    const before = this.#running.get(containerId);
    if (before === undefined) return;
    const kept = (this.#former.get(containerId) ?? []).filter(({ until }) => until > now.getTime());
    const former = [...kept, { sha256: before.sha256, until: now.getTime() + LIMITS.staleRecordMs }];
    this.#former.set(containerId, former.slice(-8));
  }
}

function tooMany(limit: number): LacreError {
  return new LacreError('server.limit', `a node may report at most ${limit} containers`, { limit });
}

function unknown(what: string, containerId: string): LacreError {
  return new LacreError('server.workload.unknown', `the request names ${what}`, { containerId });
}
