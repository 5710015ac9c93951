import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { VerifiedX509Svid } from '../identity/x509-svid.ts';
import { LacreError } from '../lacre-error.ts';
import type { AttestHello, AttestRequest, Evidence, ListChunk } from '../proto/lacre/v1/node_pb.ts';
import { verifyAttestationKey } from '../tpm/attestation-key.ts';
import { parsePublicArea } from '../tpm/public-area.ts';
import { AnswerEntries } from './answer-entries.ts';
import { answerOnReusedEvidence } from './answer-reused.ts';
import type { AttestCall } from './attest-call.ts';
import { IssueBudget } from './issue-budget.ts';
import { LIMITS } from './limits.ts';
import { NodeState } from './node-state.ts';
import { NonceBook, type OpenNonce } from './nonce.ts';
import type { ServerDeps } from './server-deps.ts';
import { maxRequests, nodeLabel, type SessionContext, send } from './session-context.ts';
import { handleEvidence } from './session-evidence.ts';
import { Outbox } from './session-outbox.ts';
import { markLost, type OpenSession, silenceMs } from './session-registry.ts';
import { nextMessage } from './session-status.ts';
import { Subscriptions } from './session-subscriptions.ts';
import { SessionTicker } from './session-ticker.ts';
import type { NodeRow } from './store-nodes.ts';
import { judgeAnew, withdrawNode } from './withdrawal.ts';

const TICK_MS = 500;
const ticker = new SessionTicker(TICK_MS);

/**
 * One session of a node: a stream each way (lacre.v1.Node.Attest). Messages are handled one after another, so that a
 * quote is judged on exactly the list that was sent before it. Whatever the protocol does not allow ends the session.
 */
export class Session implements OpenSession {
  readonly #context: SessionContext;
  readonly #startedAt: number;
  readonly #expiresAt: Date;

  private constructor(context: SessionContext, expiresAt: Date) {
    this.#context = context;
    this.#expiresAt = expiresAt;
    this.#startedAt = context.deps.clock.now().getTime();
  }

  /** Reads the event log, draws the fence. Codes: boot.*, tpm.*, server.limit, server.store.*. */
  static open(
    deps: ServerDeps,
    input: {
      readonly node: NodeRow;
      readonly svid: VerifiedX509Svid;
      readonly exporter: Uint8Array;
      readonly hello: AttestHello;
      /** Lets the node send more ahead. */
      readonly widen: () => void;
    },
  ): Session {
    const { node, svid, exporter, hello, widen } = input;
    if (hello.agentVersion.length > LIMITS.textBytes)
      throw new LacreError('server.limit', 'the agent version is too long');
    const key = verifyAttestationKey(parsePublicArea(node.akPublic ?? new Uint8Array()));
    const epoch = deps.store.evidence.epoch(node.ekSha256Hex);
    const state = NodeState.begin(deps, { node, eventLog: hello.eventLog, stored: epoch });
    const context: SessionContext = {
      deps,
      node,
      exporter,
      widen,
      key,
      state,
      agentVersion: hello.agentVersion,
      fence: deps.store.nodes.nextFence(node.ekSha256Hex),
      outbox: new Outbox(LIMITS.sendQueue),
      nonces: new NonceBook((length) => new Uint8Array(randomBytes(length))),
      subscriptions: new Subscriptions(),
      budget: new IssueBudget(),
      entries: new AnswerEntries(deps, node),
      told: new Map(),
      waiting: new Set(),
      judgedAt: deps.clock.now(),
      judging: false,
      evidence: undefined,
      last: undefined,
      clock: undefined,
      epoch,
      revision: 0,
    };
    const now = deps.clock.now();
    for (const { containerId, expiresAt } of deps.store.evidence.activeSerials(now, node.ekSha256Hex)) {
      if (containerId === '') continue;
      context.subscriptions.hold(containerId, expiresAt);
      context.budget.add(containerId, expiresAt, now);
    }
    return new Session(context, svid.notAfter);
  }

  get ekSha256Hex(): string {
    return this.#context.node.ekSha256Hex;
  }

  get fence(): number {
    return this.#context.fence;
  }

  get evidenceTime(): Date | undefined {
    return this.#context.evidence?.time;
  }

  /** Runs until either side ends it. */
  async run({ incoming, signal, write }: Omit<AttestCall, 'peer'>): Promise<void> {
    const { outbox } = this.#context;
    const endTicks = ticker.add(() => this.#safeTick());
    const onAbort = () => outbox.finish();
    signal.addEventListener('abort', onAbort, { once: true });
    this.#sendOpen();
    const pump = this.#pump(incoming);
    try {
      await outbox.drainTo(write);
    } finally {
      endTicks();
      signal.removeEventListener('abort', onAbort);
      outbox.finish();
      this.#context.evidence = undefined;
      await Promise.race([pump, nextTurn()]);
    }
  }

  end(error: LacreError): void {
    this.#context.evidence = undefined;
    this.#context.revision += 1;
    try {
      if (error.code === 'server.node.banned') withdrawNode(this.#context, error);
    } finally {
      this.#context.outbox.fail(error);
    }
  }

  entriesChanged(): void {
    this.#context.entries.forget();
    this.#context.revision += 1;
    judgeAnew(this.#context);
    send(this.#context, { case: 'entriesChanged', value: {} });
  }

  bundleChanged(): void {
    send(this.#context, { case: 'bundle', value: { bundle: this.#context.deps.keeper.bundle() } });
  }

  referencesChanged(changed: { readonly image?: string; readonly host?: string }): void {
    this.#context.revision += 1;
    if (changed.host !== undefined) this.#hostChanged(changed.host);
    if (changed.image === undefined) return;
    judgeAnew(this.#context);
    send(this.#context, { case: 'entriesChanged', value: {} });
  }

  /** The host is judged by other values from now on: over the whole list, in the next session. */
  #hostChanged(name: string): void {
    const { deps, state } = this.#context;
    if (!state.dependsOnHost(name)) return;
    const error = new LacreError(
      'server.epoch.ended',
      `reference values ${name} of the host changed: the whole list is judged anew`,
    );
    if (deps.store.hosts.get(name) === undefined) withdrawNode(this.#context, error);
    this.end(error);
  }

  async #pump(incoming: AsyncIterator<AttestRequest>): Promise<void> {
    const { outbox } = this.#context;
    try {
      while (!outbox.ended) {
        const next = await nextMessage(incoming);
        if (next.done === true) break;
        if (!outbox.ended) await this.#handle(next.value);
      }
      outbox.finish();
    } catch (error) {
      this.#context.evidence = undefined;
      outbox.fail(error);
    }
  }

  async #handle(request: AttestRequest): Promise<void> {
    const { state } = this.#context;
    const { message } = request;
    switch (message.case) {
      case 'list':
        return this.#appendList(message.value);
      case 'containers':
        if (message.value.containers.length > LIMITS.wideContainers) this.#context.widen();
        await state.changeContainers(message.value);
        return judgeAnew(this.#context);
      case 'observation':
        state.observe(message.value);
        return judgeAnew(this.#context);
      case 'evidence':
        await handleEvidence(this.#context, message.value);
        return this.#refillNonces(message.value);
      case 'nonceRequest':
        return this.#renewNonces();
      case 'requests':
        return answerOnReusedEvidence(this.#context, message.value.requests);
      case 'release':
        for (const id of message.value.ids) this.#context.subscriptions.release(id);
        return;
      default:
        throw new LacreError('server.protocol', `a session takes no ${message.case ?? 'empty message'} at this point`);
    }
  }

  /** New entries only lower trust until a quote covers them. The event loop gets a turn after each chunk. */
  async #appendList(chunk: ListChunk): Promise<void> {
    const { state } = this.#context;
    if (chunk.offset !== BigInt(state.byteLength)) {
      throw new LacreError(
        'server.protocol',
        `the list goes on at byte ${state.byteLength}, and a chunk is of ${chunk.offset}`,
      );
    }
    if (state.byteLength > LIMITS.wideListBytes) this.#context.widen();
    await state.append(chunk.data);
    const concerned = state.takeWorsened();
    if (concerned !== undefined) judgeAnew(this.#context, concerned);
    await nextTurn();
  }

  #sendOpen(): void {
    const { deps, node, state } = this.#context;
    const open = {
      resumeOffset: BigInt(state.byteLength),
      quoteIntervalMs: deps.config.quoteIntervalMs,
      pollIntervalMs: deps.config.pollIntervalMs,
      trustDomain: deps.config.trustDomain.name,
      bundle: deps.keeper.bundle(),
      spiffeId: node.spiffeId,
      maxRequests: maxRequests(this.#context),
    };
    send(this.#context, { case: 'open', value: open });
    this.#renewNonces();
  }

  #renewNonces(): void {
    const { nonces, entries } = this.#context;
    this.#sendNonces(nonces.renew(this.#now(), entries.smallestAgeMs));
  }

  /** Under whose quotes requests come, those come soon again: an idle agent asks for its next nonce when it is due. */
  #refillNonces({ requests, confirms }: Evidence): void {
    const { nonces, entries } = this.#context;
    if (requests.length + confirms.length > 0) this.#sendNonces(nonces.refill(this.#now(), entries.smallestAgeMs));
  }

  #sendNonces(made: readonly OpenNonce[]): void {
    if (made.length === 0) return;
    const nonces = made.map(({ value, lifetimeMs }) => ({ value, lifetimeMs }));
    send(this.#context, { case: 'nonces', value: { nonces } });
  }

  /** Nobody waits for a timer: what fails in it (a full disk) costs this session, not the server. */
  #safeTick(): void {
    const { deps, node } = this.#context;
    try {
      this.#tick();
    } catch (cause) {
      deps.log.error({ err: cause, node: node.spiffeId }, 'a session could not go on');
      this.end(new LacreError('server.session.failed', 'the session failed; connect again', {}, { cause }));
    }
  }

  #tick(): void {
    const { outbox, state } = this.#context;
    if (outbox.ended) return;
    const now = this.#now();
    if (now >= this.#expiresAt) {
      this.end(new LacreError('server.node.unauthenticated', "the agent's SVID has expired: enrol again"));
      return;
    }
    if (this.#silent(now)) return;
    if (!state.age(now)) return;
    this.#context.revision += 1;
    judgeAnew(this.#context);
  }

  /** Twice the interval without evidence and the node is lost; the first evidence may follow a long list. */
  #silent(now: Date): boolean {
    const { deps, node, last } = this.#context;
    const since = last?.time.getTime() ?? this.#startedAt;
    const allowed = last === undefined ? LIMITS.enrolmentMs : silenceMs(deps.config.quoteIntervalMs);
    if (now.getTime() - since <= allowed) return false;
    const sentence = `no quote came from node ${nodeLabel(node)} for ${Math.round((now.getTime() - since) / 1000)} s`;
    markLost(deps, node.ekSha256Hex, sentence);
    this.end(new LacreError('server.node.silent', sentence));
    return true;
  }

  #now(): Date {
    return this.#context.deps.clock.now();
  }
}
