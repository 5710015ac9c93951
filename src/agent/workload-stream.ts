import type { Logger } from 'pino';
import { LacreError } from '../lacre-error.ts';
import type { Refusal } from '../proto/lacre/v1/node_pb.ts';
import { Bell } from './batcher-bell.ts';
import { findingsText } from './connection-fault.ts';
import type { SessionLink, Subscriber, WorkloadSession } from './session-link.ts';
import type { WorkloadAsk, WorkloadMessage } from './workload-stream-kind.ts';

/** What is known of the process that calls, looked up anew for each request. */
export interface CallerRecord {
  /** Canonical Record. */
  readonly bytes: Uint8Array;
  readonly containerId: string;
  readonly containerSha256Hex: string;
}

/** The process at the other end of a connection, pinned so that its number can't be reused. */
export interface WorkloadCaller {
  /** Throws a LacreError where the process is gone, or is in no container that can be named. */
  record(): CallerRecord | Promise<CallerRecord>;
}

/** Where a stream's messages go. */
export interface WorkloadSink {
  /** The listener is called once nobody reads any more; at once, where that is so already. */
  onClose(listener: () => void): void;
  /** False: the client doesn't read, and the stream was cut. */
  write(message: Uint8Array): boolean;
  end(error: LacreError): void;
}

export interface WorkloadStreamDeps {
  readonly link: SessionLink;
  readonly caller: WorkloadCaller;
  readonly sink: WorkloadSink;
  readonly trustDomain: string;
  readonly log: Logger;
  makeAsk(): WorkloadAsk;
}

const NO_IDENTITY = 'no identity issued';
const REFUSED_TRIES = 4;
const SHORTEST_WAIT_MS = 500;
const TRY_AGAIN_MS = 2_000;
const REPLACED_WAIT_MS = 250;

/** One stream of the Workload API: an answer at once, a new one at half of its life, and its end when it is withdrawn. */
export class WorkloadStream implements Subscriber {
  readonly #deps: WorkloadStreamDeps;
  readonly #bell = new Bell();
  #stopped = false;
  /** Lets go of the request that waits for its answer. Plain calls: an AbortSignal costs more than all else here. */
  #giveUp: (() => void) | undefined;
  #containerId = '';
  #replacedTries = 0;
  #held: { readonly session: WorkloadSession; readonly id: bigint } | undefined;
  #message: WorkloadMessage | undefined;

  constructor(deps: WorkloadStreamDeps) {
    this.#deps = deps;
  }

  get containerId(): string {
    return this.#containerId;
  }

  renew(): void {
    this.#bell.ring();
  }

  end(error: LacreError): void {
    if (this.#stopped) return;
    // Of what the server withdrew nothing is released.
    if (error.code === 'agent.workload.refused') this.#held = undefined;
    this.#stop();
    this.#deps.sink.end(error);
  }

  /** Runs until the client leaves or the stream is ended. Never rejects. */
  async run(): Promise<void> {
    const { link, sink, log } = this.#deps;
    sink.onClose(() => this.#stop());
    try {
      while (!this.#stopped) {
        const waitMs = await this.#turn();
        if (!this.#stopped) await this.#bell.wait(waitMs);
      }
    } catch (error) {
      if (!(error instanceof LacreError)) log.error({ err: error }, 'a stream of the Workload API failed');
      const fault = faultOf(error);
      log.debug({ code: fault.code, containerId: this.#containerId, ...fault.details }, fault.message);
      this.end(fault);
    } finally {
      link.remove(this);
      this.#releaseHeld();
    }
  }

  /** One message, or a reason to wait. Returns how long to wait for the next. */
  async #turn(): Promise<number> {
    try {
      const message = await this.#fetch();
      if (this.#stopped) return 0;
      this.#message = message;
      if (!this.#deps.sink.write(message.bytes)) this.#stop();
      return message.expiresAt === undefined ? 0x7fffffff : renewalWaitMs(message.expiresAt);
    } catch (error) {
      const endsMs = this.#message?.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY;
      const holding = this.#message !== undefined && Date.now() < endsMs;
      const passing =
        error instanceof LacreError && error.grpcStatus === 'UNAVAILABLE' && error.code !== 'agent.caller.ended';
      // The link ends the stream when the session stays lost for too long.
      if (holding && passing) return Math.min(TRY_AGAIN_MS, Math.max(0, endsMs - Date.now()));
      // A session that a newer one replaced takes its requests with it.
      const replaced = error instanceof LacreError && error.code === 'agent.session.lost' && this.#replacedTries++ < 2;
      if (replaced && !this.#stopped) return REPLACED_WAIT_MS;
      throw error;
    }
  }

  async #fetch(): Promise<WorkloadMessage> {
    for (let attempt = 1; ; attempt += 1) {
      const { link, caller, trustDomain } = this.#deps;
      const session = link.requireSession();
      const looked = caller.record();
      const record = looked instanceof Promise ? await looked : looked;
      this.#subscribe(record.containerId);
      const ask = this.#deps.makeAsk();
      const { kind, subject } = ask;
      const options = { underQuote: attempt > 1 };
      const request = { containerId: record.containerId, kind, record: record.bytes, subject };
      const asked = session.ask(request, record.containerSha256Hex, options);
      const { id, outcome } = asked instanceof Promise ? await asked : asked;
      const answer = await this.#unlessStopped(outcome, () => session.release(id));
      if (answer.case === 'identities') {
        this.#hold(session, id);
        return ask.finish(answer.value, link.bundle, trustDomain);
      }
      // A container may change between its record and the server's look at it.
      const again = answer.value.retry || answer.value.code === 'server.workload.unknown';
      if (!again || attempt >= REFUSED_TRIES) throw refusedError(answer.value);
    }
  }

  async #unlessStopped<T>(outcome: Promise<T>, giveUp: () => void): Promise<T> {
    this.#giveUp = giveUp;
    if (this.#stopped) giveUp();
    try {
      return await outcome;
    } finally {
      this.#giveUp = undefined;
    }
  }

  #stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#giveUp?.();
    this.#bell.ring();
  }

  #subscribe(containerId: string): void {
    if (this.#stopped) throw new LacreError('agent.session.lost', 'the stream has ended');
    this.#containerId = containerId;
    this.#deps.link.add(this);
  }

  /** The new subscription takes the place of the former one. */
  #hold(session: WorkloadSession, id: bigint): void {
    this.#releaseHeld();
    if (this.#stopped) session.release(id);
    else this.#held = { session, id };
  }

  #releaseHeld(): void {
    this.#held?.session.release(this.#held.id);
    this.#held = undefined;
  }
}

/** Half of what is left, less up to a tenth at random. */
function renewalWaitMs(expiresAt: Date): number {
  const halfMs = (expiresAt.getTime() - Date.now()) / 2;
  return Math.max(SHORTEST_WAIT_MS, halfMs * (1 - Math.random() / 10));
}

function refusedError(refusal: Refusal): LacreError {
  const sentence = `${NO_IDENTITY}: ${refusal.sentence}${findingsText(refusal.verdict)}`;
  return new LacreError('agent.workload.refused', sentence, { serverCode: refusal.code });
}

/** What the caller is told: a refusal says first what every Workload API says. */
function faultOf(error: unknown): LacreError {
  if (!(error instanceof LacreError)) return new LacreError('agent.workload.unattested', 'the agent failed');
  if (error.grpcStatus !== 'PERMISSION_DENIED' || error.message.startsWith(NO_IDENTITY)) return error;
  return new LacreError(error.code, `${NO_IDENTITY}: ${error.message}`, error.details, { cause: error });
}
