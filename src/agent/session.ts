import { create } from '@bufbuild/protobuf';
import type { Logger } from 'pino';
import { LacreError } from '../lacre-error.ts';
import {
  type AttestOpen,
  type AttestRequest,
  AttestRequestSchema,
  type AttestResponse,
  type NodeVerdict,
  type Withdrawal,
} from '../proto/lacre/v1/node_pb.ts';
import { VERSION } from '../version.ts';
import { type Asked, type AttestMessage, type BatchAsk, Batcher } from './batcher.ts';
import type { Connection } from './connection.ts';
import { faultOfCall } from './connection-fault.ts';
import { EvidenceFeed, type NodeContainers } from './evidence.ts';
import type { AttestationTpm } from './evidence-tpm.ts';
import { MeasurementList } from './measurement-list.ts';
import { SessionOutbox } from './session-outbox.ts';

/** What a session tells the agent, in the order in which the server sent it. */
export interface SessionListener {
  withdrawn(withdrawal: Withdrawal): void;
  bundleChanged(bundle: readonly Uint8Array[]): void;
  entriesChanged(): void;
  /** The server judged a quote of this session. */
  attested(verdict: NodeVerdict): void;
}

export interface SessionDeps {
  readonly connection: Connection;
  readonly tpm: Pick<AttestationTpm, 'quote'>;
  /** nameAlg ‖ digest of the AK's public area. */
  readonly akName: Uint8Array;
  readonly eventLog: Uint8Array;
  readonly measurementList: string;
  readonly containers: NodeContainers;
  readonly listener: SessionListener;
  readonly log: Logger;
}

const OUTBOX_MESSAGES = 16_384;
const OPEN_TIMEOUT_MS = 15_000;
/** Over twice the quote interval: the server's own measure of silence. */
const SILENCE_GRACE_MS = 5_000;
/** The first verdict may wait for the replay of a long list. */
const FIRST_VERDICT_MS = 120_000;

/**
 * One Attest stream on one connection (DESIGN section 8): list deltas, containers, quotes, requests. Whatever goes wrong
 * on either side ends it, and `ended` says what; nothing of it is used after that.
 */
export class Session {
  readonly opened: AttestOpen;
  /** Resolves when the session has ended, never rejects. */
  readonly ended: Promise<LacreError>;
  readonly #deps: SessionDeps;
  readonly #list: MeasurementList;
  readonly #feed: EvidenceFeed;
  readonly #batcher: Batcher;
  readonly #outbox: SessionOutbox<AttestRequest>;
  readonly #stop = new AbortController();
  readonly #end = Promise.withResolvers<LacreError>();
  #failed = false;
  #watchdog: NodeJS.Timeout;

  /**
   * Says hello, and returns once the server has opened the session. Then list and quotes go out by themselves.
   * Codes: agent.server.refused, agent.session.lost, agent.protocol, agent.list.*.
   */
  static async open(deps: SessionDeps): Promise<Session> {
    const outbox = new SessionOutbox<AttestRequest>(OUTBOX_MESSAGES);
    const hello = { agentVersion: VERSION, eventLog: deps.eventLog };
    outbox.push(create(AttestRequestSchema, { message: { case: 'hello', value: hello } })).catch(() => undefined);
    const call = new AbortController();
    const timer = setTimeout(() => call.abort(), OPEN_TIMEOUT_MS);
    try {
      const responses = deps.connection.client.attest(outbox, { signal: call.signal })[Symbol.asyncIterator]();
      const first = await responses.next();
      if (first.done === true || first.value.message.case !== 'open') {
        throw new LacreError('agent.protocol', 'the server did not open the session that it accepted');
      }
      const opened = first.value.message.value;
      const list = await MeasurementList.open(deps.measurementList, Number(opened.resumeOffset));
      return new Session(deps, opened, list, outbox, responses);
    } catch (error) {
      deps.connection.close();
      throw faultOfCall(error);
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(
    deps: SessionDeps,
    opened: AttestOpen,
    list: MeasurementList,
    outbox: SessionOutbox<AttestRequest>,
    responses: AsyncIterator<AttestResponse>,
  ) {
    this.opened = opened;
    this.ended = this.#end.promise;
    this.#deps = deps;
    this.#list = list;
    this.#outbox = outbox;
    const send = (message: AttestMessage) => outbox.push(create(AttestRequestSchema, { message }));
    this.#feed = new EvidenceFeed({
      list,
      containers: deps.containers,
      pollIntervalMs: opened.pollIntervalMs,
      send,
      gone: (containerId) => this.#batcher.forget(containerId),
    });
    this.#batcher = new Batcher(
      {
        akName: deps.akName,
        exporter: deps.connection.exporter,
        quote: (extraData) => deps.tpm.quote(extraData),
        advance: () => this.#feed.advance(),
        listSent: () => this.#feed.listSent(),
        send,
      },
      { quoteIntervalMs: opened.quoteIntervalMs, maxRequests: opened.maxRequests },
    );
    this.#watchdog = this.#watch(FIRST_VERDICT_MS);
    this.#run(this.#read(responses));
    this.#run(this.#feed.poll(this.#stop.signal));
    this.#run(this.#batcher.run(this.#stop.signal));
  }

  /** How long the last quote took, in milliseconds. */
  get quoteMs(): number {
    return this.#batcher.quoteMs;
  }

  /** Asks for one workload, after the server was told of the container that its record names: at once where it was before. */
  ask(
    ask: BatchAsk,
    containerSha256Hex: string,
    options: { readonly underQuote?: boolean } = {},
  ): Asked | Promise<Asked> {
    if (this.#feed.knows(containerSha256Hex)) return this.#batcher.ask(ask, options);
    return this.#feed
      .tell(containerSha256Hex)
      .catch((error: unknown) => this.#fail(error))
      .then(() => this.#batcher.ask(ask, options));
  }

  release(id: bigint): void {
    this.#batcher.release(id);
  }

  close(): void {
    this.#fail(new LacreError('agent.session.lost', 'the agent ended the session'));
  }

  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.#fail(error));
  }

  async #read(responses: AsyncIterator<AttestResponse>): Promise<void> {
    for (let next = await responses.next(); next.done !== true; next = await responses.next()) {
      if (this.#failed) return;
      this.#receive(next.value);
    }
    throw new LacreError('agent.session.lost', 'the server ended the session');
  }

  #receive({ message }: AttestResponse): void {
    const { listener } = this.#deps;
    switch (message.case) {
      case 'nonces':
        this.#batcher.receiveNonces(message.value.nonces);
        break;
      case 'answers':
        for (const answer of message.value.answers) this.#batcher.receiveAnswer(answer);
        break;
      case 'withdrawal':
        this.#batcher.forget(message.value.containerId);
        listener.withdrawn(message.value);
        break;
      case 'bundle':
        listener.bundleChanged(message.value.bundle);
        break;
      case 'entriesChanged':
        listener.entriesChanged();
        break;
      case 'node':
        this.#batcher.receiveVerdict();
        clearTimeout(this.#watchdog);
        this.#watchdog = this.#watch(2 * this.opened.quoteIntervalMs + SILENCE_GRACE_MS);
        listener.attested(message.value);
        break;
      default:
        throw new LacreError('agent.protocol', `the server sent ${message.case ?? 'nothing'} in an open session`);
    }
  }

  #watch(allowedMs: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#fail(
        new LacreError('agent.session.lost', `the server judged no quote for ${Math.round(allowedMs / 1000)} s`),
      );
    }, allowedMs);
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    const fault = faultOfCall(error);
    clearTimeout(this.#watchdog);
    this.#stop.abort();
    this.#batcher.end(new LacreError('agent.session.lost', fault.message));
    this.#outbox.end(new LacreError('agent.session.lost', fault.message));
    this.#deps.connection.close();
    void this.#list.close();
    this.#end.resolve(fault);
  }
}
