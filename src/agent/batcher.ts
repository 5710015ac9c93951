import type { MessageInitShape } from '@bufbuild/protobuf';
import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import type { Answer, AttestRequestSchema, Nonce } from '../proto/lacre/v1/node_pb.ts';
import { batchRoot, quoteExtraData, type SubjectKind, workloadLeaf } from '../tpm/qualifying-data.ts';
import { Bell } from './batcher-bell.ts';
import { type HeldNonce, NonceSupply } from './batcher-nonces.ts';
import type { Quote } from './evidence-tpm.ts';

export type AttestMessage = NonNullable<MessageInitShape<typeof AttestRequestSchema>['message']>;

/** What the batcher works with: one session's connection, TPM and list. */
export interface BatchPort {
  /** nameAlg ‖ digest of the AK's public area. */
  readonly akName: Uint8Array;
  /** TLS exporter of the session's connection, 32 bytes. */
  readonly exporter: Uint8Array;
  quote(extraData: Uint8Array): Promise<Quote>;
  /** Reads and sends containers and list as they are now. */
  advance(): Promise<void>;
  /** What was handed to `send` of the list up to this moment: whoever polls the list sends it too. */
  listSent(): ListSent;
  /** Resolves when the message is on its way. */
  send(message: AttestMessage): Promise<void>;
}

/** How much of the list was sent in this session's epoch, and when something last was (performance.now()). */
export interface ListSent {
  readonly bytes: number;
  readonly atMs: number;
}

export interface BatchLimits {
  readonly quoteIntervalMs: number;
  /** Requests in one Evidence. */
  readonly maxRequests: number;
  readonly answerTimeoutMs?: number;
}

/** A request for one workload, as it goes under a quote. */
export interface BatchAsk {
  readonly containerId: string;
  readonly kind: SubjectKind;
  /** Canonical Record. */
  readonly record: Uint8Array;
  /** X509_SVID: SubjectPublicKeyInfo, DER. BUNDLE, VERDICT: 16 random bytes. */
  readonly subject: Uint8Array;
  /** VERDICT: evidence older than this, in milliseconds, is of no use. */
  readonly maxEvidenceAgeMs?: number;
}

export type Outcome = Exclude<Answer['outcome'], { case: 'quoteNeeded' } | { case: undefined }>;

export interface Asked {
  readonly id: bigint;
  readonly outcome: Promise<Outcome>;
}

/** Evidence that the server has not judged yet; never more than one. */
interface InFlight {
  readonly requests: ReadonlySet<bigint>;
  readonly confirms: readonly Pending[];
}

interface Pending {
  readonly id: bigint;
  readonly ask: BatchAsk;
  /** Made when it is first asked for: a verdict on reused evidence needs none. */
  leaf: Uint8Array | undefined;
  readonly timer: NodeJS.Timeout;
  /** The asker gave up; kept until the answer comes, so that what was issued is confirmed and released. */
  abandoned: boolean;
  resolve(outcome: Outcome): void;
  reject(error: LacreError): void;
}

/** How many requests waited, and when. */
interface Mark {
  readonly atMs: number;
  readonly count: number;
}

const ANSWER_TIMEOUT_MS = 30_000;
const LATE = 'the server gave no answer in time';
/** A quote costs a crowd no less, however fast the chip: agent and server work on its evidence. */
const EVIDENCE_MS = 25;
/** A lone request waits a twentieth of what a quote costs for companions (DESIGN section 8, decision 0010). */
const HOLD_OFF_PART = 1 / 20;
/** Quoting, reading the list and sending must fit into what is left of a nonce's life. */
const NONCE_MARGIN_MS = 250;
/** An answer on its way is waited for; asked so often, nonces that are too old already become young ones. */
const ASK_AGAIN_MS = 1_000;
/** From new entries to the withdrawal that they cause. */
const SETTLE_MS = 50;
/** Longer than any nonce lives: evidence that was not judged by then was none. */
const JUDGED_TIMEOUT_MS = 6_000;
const QUOTE_ATTEMPTS = 3;
const QUOTE_RETRY_MS = 500;

/**
 * Group commit of one session (DESIGN section 8). While a quote is in flight requests gather, and the next quote answers
 * them all. A request first asks for an answer on evidence that is fresh already, together with those that gathered
 * while others were being answered so; what was answered so is confirmed by the next quote. Without requests one quote
 * is made per interval.
 */
export class Batcher {
  readonly #port: BatchPort;
  readonly #limits: BatchLimits;
  readonly #bell = new Bell();
  readonly #nonces = new NonceSupply(() => performance.now());
  readonly #pending = new Map<bigint, Pending>();
  readonly #waiting: Pending[] = [];
  /** Ids that went out under a quote: their answers need no confirmation. */
  readonly #underQuote = new Set<bigint>();
  /** Answered on reused evidence, in the order of the answers. */
  readonly #toConfirm = new Map<bigint, Pending>();
  /** To be asked for on reused evidence, in one message, once nothing is asked for so any more. */
  readonly #gathering = new Map<bigint, Pending>();
  /** Asked for on reused evidence, and not answered yet. */
  readonly #onReused = new Set<bigint>();
  /** Subscriptions that ended in this turn of the event loop. */
  readonly #released: bigint[] = [];
  #inFlight: InFlight | undefined;
  readonly #judged = new Bell();
  #nextId = 1n;
  #quoted = false;
  #quoteMs = 0;
  #startedMs = Number.NEGATIVE_INFINITY;
  #endedMs = Number.NEGATIVE_INFINITY;
  #ended: LacreError | undefined;

  constructor(port: BatchPort, limits: BatchLimits) {
    this.#port = port;
    this.#limits = limits;
  }

  /** How long the last quote took, in milliseconds; 0 before the first. */
  get quoteMs(): number {
    return this.#quoteMs;
  }

  /**
   * Asks for one workload. `underQuote`: fresh evidence is of no use (the server said so, or there is none yet).
   * The outcome is rejected with agent.session.lost when the session ends, or no answer comes in time.
   */
  ask(ask: BatchAsk, options: { readonly underQuote?: boolean } = {}): Asked {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    promise.catch(() => undefined);
    const timer = setTimeout(() => this.#abandon(id, LATE), this.#limits.answerTimeoutMs ?? ANSWER_TIMEOUT_MS);
    const pending: Pending = { id, ask, leaf: undefined, timer, abandoned: false, resolve, reject };
    if (this.#ended !== undefined) {
      clearTimeout(timer);
      reject(this.#ended);
    } else {
      this.#pending.set(id, pending);
      if (options.underQuote === true || !this.#quoted || this.#isFull()) this.#enqueue(pending);
      else this.#askOnReused(pending);
    }
    return { id, outcome: promise };
  }

  /** The subscription of this id ended: nothing that was issued for it is in use any more. Before its answer: it is given up. */
  release(id: bigint): void {
    if (this.#ended !== undefined) return;
    if (this.#pending.has(id)) this.#abandon(id, 'the asker gave up');
    else if (this.#released.push(id) === 1) setImmediate(() => this.#sendReleased());
  }

  /** Those of one turn of the event loop together. */
  #sendReleased(): void {
    const ids = this.#released.splice(0);
    if (this.#ended === undefined) this.#send({ case: 'release', value: { ids } });
  }

  /** The server withdrew what this container got, or everything where it is empty: none of it is confirmed any more. */
  forget(containerId: string): void {
    for (const [id, { ask }] of this.#toConfirm) {
      if (containerId === '' || ask.containerId === containerId) this.#toConfirm.delete(id);
    }
    if (this.#inFlight === undefined) return;
    const left = this.#inFlight.confirms.filter(({ ask }) => containerId !== '' && ask.containerId !== containerId);
    this.#inFlight = { ...this.#inFlight, confirms: left };
  }

  receiveNonces(nonces: readonly Nonce[]): void {
    this.#nonces.add(nonces);
    this.#bell.ring();
  }

  /** The server has judged the evidence in flight: what it confirms is confirmed. */
  receiveVerdict(): void {
    this.#inFlight = undefined;
    this.#judged.ring();
  }

  receiveAnswer({ id, outcome }: Answer): void {
    if (outcome.case === 'quoteNeeded' && this.#inFlight?.requests.has(id) === true) this.#takeBack();
    if (this.#onReused.delete(id)) this.#sendGathered();
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (outcome.case === 'quoteNeeded' && !pending.abandoned) {
      if (!this.#waiting.includes(pending)) this.#enqueue(pending);
      return;
    }
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (outcome.case === 'quoteNeeded') return;
    if (outcome.case === undefined) {
      pending.reject(new LacreError('agent.protocol', 'the server answered a request with nothing'));
      return;
    }
    const onReusedEvidence = !this.#underQuote.delete(id);
    if (outcome.case === 'identities' && onReusedEvidence) this.#confirmNext(pending);
    if (pending.abandoned && outcome.case === 'identities') this.release(id);
    pending.resolve(outcome);
  }

  /** Quotes until `signal` aborts. Rejects where the TPM, the list or the connection fails. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#untilDue(signal);
      await this.#holdOff(signal);
      const nonce = await this.#nonce(signal);
      if (nonce === undefined) return;
      if (!signal.aborted) await this.#quoteBatch(nonce, signal);
    }
  }

  /** Ends every pending request with this error; later ones end with it at once. */
  end(error: LacreError): void {
    this.#ended ??= error;
    for (const pending of this.#pending.values()) {
      clearTimeout(pending.timer);
      pending.reject(this.#ended);
    }
    this.#pending.clear();
    this.#waiting.length = 0;
    this.#gathering.clear();
    this.#bell.ring();
  }

  /**
   * Requests make a quote due at once; else an interval after the last began, or half as many answers on reused evidence
   * as it can confirm: the next crowd finds room. Never more than half of the chip's time.
   */
  async #untilDue(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#waiting.length === 0) {
      const intervalMs = this.#isHalfFull() ? 0 : this.#limits.quoteIntervalMs;
      const dueMs = Math.max(this.#startedMs + intervalMs, this.#endedMs + this.#quoteMs);
      const leftMs = dueMs - performance.now();
      if (!(leftMs > 0)) return;
      await this.#bell.wait(leftMs, signal);
    }
  }

  /** One that lives long enough. The server gives some out with answers, and others where it is asked. */
  async #nonce(signal: AbortSignal): Promise<HeldNonce | undefined> {
    let askedMs = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      const nonce = this.#nonces.take(this.#quoteMs + NONCE_MARGIN_MS);
      if (nonce !== undefined) return nonce;
      if (performance.now() - askedMs >= ASK_AGAIN_MS) {
        askedMs = performance.now();
        this.#send({ case: 'nonceRequest', value: {} });
      } else {
        await this.#bell.wait(ASK_AGAIN_MS, signal);
      }
    }
    return undefined;
  }

  /**
   * Waits for companions while they come so fast that waiting saves them more than it costs (decision 0010): one that
   * comes within the next millisecond is spared a quote and its evidence, each that waits pays a millisecond.
   */
  async #holdOff(signal: AbortSignal): Promise<void> {
    const costMs = Math.max(this.#quoteMs, EVIDENCE_MS);
    const periodMs = costMs * HOLD_OFF_PART;
    if (!this.#quoted || this.#waiting.length === 0) return;
    const beganMs = performance.now();
    const isIdle = beganMs - this.#endedMs >= periodMs;
    // Those who came during the last quote came as fast as they have to for it.
    let since = isIdle ? { atMs: beganMs, count: this.#waiting.length } : { atMs: this.#startedMs, count: 0 };
    if (!isIdle && !this.#comeFast(since, costMs)) return;
    let last = since;
    while (!signal.aborted && this.#waiting.length < this.#limits.maxRequests) {
      await new Bell().wait(periodMs, signal);
      await turn();
      if (performance.now() - beganMs >= costMs || !this.#comeFast(since, costMs)) return;
      [since, last] = [last, { atMs: performance.now(), count: this.#waiting.length }];
    }
  }

  /** Whether in what a quote costs more requests would come than wait now, if they go on coming as since then. */
  #comeFast({ atMs, count }: Mark, costMs: number): boolean {
    const came = this.#waiting.length - count;
    return came * costMs > this.#waiting.length * (performance.now() - atMs);
  }

  async #quoteBatch({ value: nonce, diesAtMs }: HeldNonce, signal: AbortSignal): Promise<void> {
    const requests = this.#waiting.splice(0, this.#limits.maxRequests);
    const confirms = [...this.#toConfirm].slice(0, this.#limits.maxRequests);
    const leaves = [...requests.map(leafOf), ...confirms.map(([, pending]) => leafOf(pending))];
    const { akName, exporter } = this.#port;
    const root = batchRoot(leaves);
    const quote = await this.#quote(quoteExtraData({ akName, exporter, nonce, root, count: leaves.length }), signal);
    await this.#port.advance();
    await this.#untilJudged(signal);
    if (confirms.length > 0) await this.#untilSettled(diesAtMs, signal);
    // Withdrawn while the chip signed: the tree holds a leaf that the server no longer knows. Or the server took so long to
    // judge the last that this would come too late: sent all the same, it would be refused, and so would each one after it.
    if (confirms.some(([id]) => !this.#toConfirm.has(id)) || performance.now() >= diesAtMs) {
      this.#waiting.unshift(...requests.filter(({ abandoned }) => !abandoned));
      this.#startedMs = Number.NEGATIVE_INFINITY;
      return;
    }
    this.#inFlight = {
      requests: new Set(requests.map(({ id }) => id)),
      confirms: confirms.map(([, pending]) => pending),
    };
    for (const [id] of confirms) this.#toConfirm.delete(id);
    for (const { id } of requests) this.#underQuote.add(id);
    this.#quoted = true;
    const value = {
      nonce,
      attest: quote.attest,
      signature: quote.signature,
      listLength: BigInt(this.#port.listSent().bytes),
      requests: requests.map(requestOf),
      confirms: confirms.map(([id]) => id),
    };
    await this.#port.send({ case: 'evidence', value });
  }

  /** The next quote may be made while the server judges the last, but not sent: what the last confirms must be known. */
  async #untilJudged(signal: AbortSignal): Promise<void> {
    const startedMs = performance.now();
    while (this.#inFlight !== undefined && !signal.aborted) {
      const leftMs = startedMs + JUDGED_TIMEOUT_MS - performance.now();
      if (leftMs <= 0) this.#takeBack();
      else await this.#judged.wait(leftMs, signal);
    }
  }

  /** New entries may cost a container what is confirmed: the server says so before it reads on, if it is given the time. */
  async #untilSettled(diesAtMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && performance.now() < diesAtMs) {
      const leftMs = this.#port.listSent().atMs + SETTLE_MS - performance.now();
      if (!(leftMs > 0)) return;
      await new Bell().wait(leftMs, signal);
    }
  }

  /** The evidence in flight was none (its nonce came too late): what it was to confirm goes under the next quote. */
  #takeBack(): void {
    for (const pending of this.#inFlight?.confirms ?? []) this.#toConfirm.set(pending.id, pending);
    this.receiveVerdict();
  }

  async #quote(extraData: Uint8Array, signal: AbortSignal): Promise<Quote> {
    for (let attempt = 1; ; attempt += 1) {
      this.#startedMs = performance.now();
      try {
        const quote = await this.#port.quote(extraData);
        this.#endedMs = performance.now();
        this.#quoteMs = this.#endedMs - this.#startedMs;
        return quote;
      } catch (error) {
        this.#endedMs = performance.now();
        if (attempt >= QUOTE_ATTEMPTS || signal.aborted) throw error;
        await new Bell().wait(QUOTE_RETRY_MS, signal);
      }
    }
  }

  /** As many answers on reused evidence as one quote can confirm: the next request brings that quote on. */
  #isFull(): boolean {
    return this.#toConfirm.size + this.#onReused.size + this.#gathering.size >= this.#limits.maxRequests;
  }

  #confirmNext(pending: Pending): void {
    this.#toConfirm.set(pending.id, pending);
    if (this.#isHalfFull()) this.#bell.ring();
  }

  #isHalfFull(): boolean {
    return this.#toConfirm.size * 2 >= this.#limits.maxRequests;
  }

  #askOnReused(pending: Pending): void {
    this.#gathering.set(pending.id, pending);
    this.#sendGathered();
  }

  /** One message at a time: what comes meanwhile is answered and committed together. */
  #sendGathered(): void {
    if (this.#onReused.size > 0 || this.#gathering.size === 0) return;
    const gathered = [...this.#gathering.values()].slice(0, this.#limits.maxRequests);
    for (const { id } of gathered) {
      this.#gathering.delete(id);
      this.#onReused.add(id);
    }
    this.#send({ case: 'requests', value: { requests: gathered.map(requestOf) } });
  }

  #enqueue(pending: Pending): void {
    // Now, while companions come, rather than for all of them before the quote.
    leafOf(pending);
    this.#waiting.push(pending);
    this.#bell.ring();
  }

  #abandon(id: bigint, why: string): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.abandoned) return;
    pending.abandoned = true;
    clearTimeout(pending.timer);
    const index = this.#waiting.indexOf(pending);
    if (index >= 0) this.#waiting.splice(index, 1);
    // What was not sent gets no answer.
    if (this.#gathering.delete(id) || index >= 0) this.#pending.delete(id);
    // One that is not answered in time holds up no other.
    if (this.#onReused.delete(id)) this.#sendGathered();
    pending.reject(new LacreError('agent.session.lost', why));
  }

  /** What can't be sent ends the session by itself. */
  #send(message: AttestMessage): void {
    this.#port.send(message).catch(() => undefined);
  }
}

/** What the event loop has before it, new connections among it, is taken first. */
async function turn(): Promise<void> {
  for (let turns = 0; turns < 2; turns += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

function leafOf(pending: Pending): Uint8Array {
  const { kind, record, subject } = pending.ask;
  pending.leaf ??= workloadLeaf(kind, sha256(record), sha256(subject));
  return pending.leaf;
}

function requestOf({ id, ask }: Pending) {
  const { kind, record, subject, maxEvidenceAgeMs = 0 } = ask;
  return { id, kind, record, subject, maxEvidenceAgeMs };
}
