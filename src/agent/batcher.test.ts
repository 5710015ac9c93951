import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { toHex } from '../bytes/hex.ts';
import { sha256 } from '../bytes/sha256.ts';
import { LacreError } from '../lacre-error.ts';
import { AnswerSchema, NonceSchema } from '../proto/lacre/v1/node_pb.ts';
import { batchRoot, quoteExtraData, workloadLeaf } from '../tpm/qualifying-data.ts';
import { type Asked, type AttestMessage, type BatchAsk, Batcher, type BatchPort, type ListSent } from './batcher.ts';

type Message<Case extends AttestMessage['case']> = Extract<AttestMessage, { case: Case }>['value'];

const AK_NAME = Uint8Array.of(0, 11, 1);
const EXPORTER = new Uint8Array(32).fill(7);

/**
 * The other end of a session: a chip whose quotes take the time that the test says, and a server that hands out nonces
 * and answers evidence by the protocol's rules. What the batcher sent is checked against the tree it signed.
 */
class ScriptedNode implements BatchPort {
  readonly akName = AK_NAME;
  readonly exporter = EXPORTER;
  readonly sent: AttestMessage[] = [];
  readonly quotes: { readonly extraDataHex: string; readonly startMs: number; readonly endMs: number }[] = [];
  /** Quotes that began. */
  begun = 0;
  quoteMs = 20;
  listSentAtMs = Number.NEGATIVE_INFINITY;
  /** Sent beside the batcher, by whoever polls the list. */
  polledBytes = 0;
  quoteFaults = 0;
  nonceLifeMs = 5_000;
  judges = true;
  /** New entries are found and sent now. */
  onAdvance: (() => void) | undefined;
  onEvidence: ((evidence: Message<'evidence'>) => void) | undefined;
  onRequest: (request: NonNullable<Message<'requests'>['requests']>[number]) => void = (request) =>
    this.answer(request.id ?? 0n, 'quoteNeeded');
  readonly batcher: Batcher;
  readonly stop = new AbortController();
  readonly running: Promise<void>;
  failed: unknown;
  #nonces = 0;

  constructor(limits: { quoteIntervalMs?: number; maxRequests?: number; answerTimeoutMs?: number } = {}) {
    this.batcher = new Batcher(this, { quoteIntervalMs: 60_000, maxRequests: 256, ...limits });
    this.running = this.batcher.run(this.stop.signal).catch((error: unknown) => {
      this.failed = error;
    });
  }

  async quote(extraData: Uint8Array) {
    const startMs = performance.now();
    this.begun += 1;
    await sleep(this.quoteMs);
    if (this.quoteFaults > 0) {
      this.quoteFaults -= 1;
      throw new LacreError('agent.session.lost', 'the chip failed');
    }
    const extraDataHex = toHex(extraData);
    this.quotes.push({ extraDataHex, startMs, endMs: performance.now() });
    return { attest: extraData, signature: Uint8Array.of(1) };
  }

  async advance(): Promise<void> {
    this.onAdvance?.();
  }

  listSent(): ListSent {
    return { bytes: 1_000 * this.quotes.length + this.polledBytes, atMs: this.listSentAtMs };
  }

  async send(message: AttestMessage): Promise<void> {
    this.sent.push(message);
    await sleep(1);
    if (message.case === 'requests') for (const request of message.value.requests ?? []) this.onRequest(request);
    if (message.case === 'evidence') this.#judge(message.value);
  }

  nonces(count = 1): Uint8Array[] {
    const made = Array.from({ length: count }, () => new Uint8Array(32).fill(++this.#nonces));
    this.batcher.receiveNonces(made.map((value) => create(NonceSchema, { value, lifetimeMs: this.nonceLifeMs })));
    return made;
  }

  answer(id: bigint, outcome: 'identities' | 'quoteNeeded' | 'refusal'): void {
    const value = { case: outcome, value: {} } as NonNullable<MessageInitShape<typeof AnswerSchema>['outcome']>;
    this.batcher.receiveAnswer(create(AnswerSchema, { id, outcome: value }));
  }

  #judge(evidence: Message<'evidence'>): void {
    if (this.onEvidence !== undefined) this.onEvidence(evidence);
    else for (const request of evidence.requests ?? []) this.answer(request.id ?? 0n, 'identities');
    if (this.judges) this.batcher.receiveVerdict();
    this.nonces();
  }

  get evidence(): Message<'evidence'>[] {
    return this.sent.flatMap((message) => (message.case === 'evidence' ? [message.value] : []));
  }

  async untilEvidence(count: number): Promise<Message<'evidence'>> {
    await until(() => this.evidence.length >= count, `evidence ${count} is sent`);
    return at(this.evidence, count - 1);
  }
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  assert.ok(found !== undefined, `there is no item ${index}`);
  return found;
}

async function until(condition: () => boolean, what: string, timeoutMs = 4_000): Promise<void> {
  for (const started = performance.now(); !condition(); await sleep(2)) {
    if (performance.now() - started > timeoutMs) assert.fail(`it did not come true that ${what}`);
  }
}

function ask(number: number, containerId = 'c1'): BatchAsk {
  return { containerId, kind: 1, record: Uint8Array.of(1, 2), subject: Uint8Array.of(number >> 8, number & 0xff) };
}

function leafOf(number: number): Uint8Array {
  return workloadLeaf(1, sha256(Uint8Array.of(1, 2)), sha256(ask(number).subject));
}

async function outcomes(asked: readonly Asked[]): Promise<string[]> {
  return Promise.all(asked.map(async ({ outcome }) => (await outcome).case));
}

let node: ScriptedNode;
afterEach(async () => {
  node.stop.abort();
  node.batcher.end(new LacreError('agent.session.lost', 'the test is over'));
  await node.running;
});

describe('batches of one session', () => {
  test('the first quote is made at once, without requests: root zero, count zero', async () => {
    node = new ScriptedNode();
    const [nonce] = node.nonces();
    const evidence = await node.untilEvidence(1);
    const root = batchRoot([]);
    const expected = quoteExtraData({ akName: AK_NAME, exporter: EXPORTER, nonce: nonce ?? AK_NAME, root, count: 0 });
    assert.equal(node.quotes[0]?.extraDataHex, toHex(expected));
    assert.deepEqual(evidence.nonce, nonce);
    assert.equal(evidence.listLength, 1_000n);
  });

  test('no nonce, no quote: the server is asked for one, and asked again where it says nothing', async () => {
    node = new ScriptedNode();
    const wishes = () => node.sent.filter(({ case: kind }) => kind === 'nonceRequest').length;
    node.batcher.ask(ask(1));
    await sleep(60);
    assert.deepEqual([node.quotes.length, wishes()], [0, 1]);
    await until(() => wishes() === 2, 'it is asked again');
    node.nonces();
    await node.untilEvidence(1);
    assert.equal(wishes(), 2);
  });

  test('an idle agent asks for a nonce when a quote is due, and not before', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 300 });
    node.nonces(1);
    node.nonceLifeMs = 100;
    await node.untilEvidence(1);
    await sleep(150);
    assert.ok(!node.sent.some(({ case: kind }) => kind === 'nonceRequest'));
    node.nonceLifeMs = 5_000;
    await until(() => node.sent.some(({ case: kind }) => kind === 'nonceRequest'), 'it asks');
    node.nonces(1);
    await node.untilEvidence(2);
  });

  test('requests that come while a quote is in flight all go under the next one, in their order', async () => {
    node = new ScriptedNode();
    node.quoteMs = 60;
    node.nonces(2);
    await sleep(20);
    const asked = Array.from({ length: 150 }, (_, index) => node.batcher.ask(ask(index)));
    assert.deepEqual(new Set(await outcomes(asked)), new Set(['identities']));
    assert.equal(node.quotes.length, 2);
    const evidence = at(node.evidence, 1);
    assert.deepEqual(
      evidence.requests?.map(({ id }) => id),
      asked.map(({ id }) => id),
    );
    const root = batchRoot(asked.map((_, index) => leafOf(index)));
    const nonce = evidence.nonce ?? AK_NAME;
    const expected = quoteExtraData({ akName: AK_NAME, exporter: EXPORTER, nonce, root, count: 150 });
    assert.equal(node.quotes[1]?.extraDataHex, toHex(expected));
  });

  test('a batch holds no more than the server takes; the rest follows under the next quotes', async () => {
    node = new ScriptedNode({ maxRequests: 10 });
    node.nonces(2);
    const asked = Array.from({ length: 25 }, (_, index) => node.batcher.ask(ask(index)));
    await outcomes(asked);
    assert.deepEqual(
      node.evidence.map(({ requests }) => requests?.length),
      [10, 10, 5],
    );
  });

  test('after the first quote a request first asks for an answer on fresh evidence, and is confirmed by the next quote', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 200 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const asked = [node.batcher.ask(ask(1)), node.batcher.ask(ask(2))];
    assert.deepEqual(await outcomes(asked), ['identities', 'identities']);
    assert.equal(node.quotes.length, 1);
    const second = await node.untilEvidence(2);
    assert.deepEqual(second.requests, []);
    assert.deepEqual(
      second.confirms,
      asked.map(({ id }) => id),
    );
    const root = batchRoot([leafOf(1), leafOf(2)]);
    const extraData = quoteExtraData({
      akName: AK_NAME,
      exporter: EXPORTER,
      nonce: second.nonce ?? AK_NAME,
      root,
      count: 2,
    });
    assert.equal(node.quotes[1]?.extraDataHex, toHex(extraData));
    assert.deepEqual((await node.untilEvidence(3)).confirms, []);
  });

  test('requests that come while others are answered on fresh evidence go together, in one message after them', async () => {
    node = new ScriptedNode();
    node.onRequest = () => undefined;
    node.nonces(2);
    await node.untilEvidence(1);
    const asked = [1, 2, 3, 4].map((number) => node.batcher.ask(ask(number)));
    const sent = () => node.sent.flatMap((message) => (message.case === 'requests' ? [message.value.requests] : []));
    const ids = () => sent().map((requests) => requests?.map(({ id }) => id));
    assert.deepEqual(ids(), [[asked[0]?.id]]);
    node.batcher.release(at(asked, 2).id);
    node.answer(at(asked, 0).id, 'identities');
    assert.deepEqual(ids(), [[at(asked, 0).id], [at(asked, 1).id, at(asked, 3).id]], 'without what was given up');
    node.answer(at(asked, 1).id, 'identities');
    const late = node.batcher.ask(ask(5));
    assert.equal(sent().length, 2, 'one of the message has no answer yet');
    node.answer(at(asked, 3).id, 'refusal');
    assert.deepEqual(ids().at(-1), [late.id]);
    node.answer(late.id, 'identities');
    assert.deepEqual(await outcomes([at(asked, 0), at(asked, 1), at(asked, 3), late]), [
      'identities',
      'identities',
      'refusal',
      'identities',
    ]);
  });

  test('no more is answered on fresh evidence than the next quote can confirm', async () => {
    node = new ScriptedNode({ maxRequests: 3 });
    node.quoteMs = 300;
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const onReused = [1, 2, 3].map((number) => node.batcher.ask(ask(number)));
    assert.deepEqual(new Set(await outcomes(onReused)), new Set(['identities']));
    const more = node.batcher.ask(ask(4));
    const second = await node.untilEvidence(2);
    assert.deepEqual([second.requests?.map(({ id }) => id), second.confirms?.length], [[more.id], 3]);
  });

  test('half as many answers on fresh evidence as a quote can confirm bring that quote on; fewer wait for the next', async () => {
    node = new ScriptedNode({ maxRequests: 8 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    await outcomes([1, 2, 3].map((number) => node.batcher.ask(ask(number))));
    await sleep(100);
    assert.equal(node.begun, 1);
    await outcomes([node.batcher.ask(ask(4))]);
    const second = await node.untilEvidence(2);
    assert.deepEqual([second.requests?.length, second.confirms?.length], [0, 4]);
    await outcomes([5, 6, 7].map((number) => node.batcher.ask(ask(number))));
    await sleep(100);
    assert.equal(node.begun, 2);
  });

  test('a request on fresh evidence that is not answered in time holds up no other', async () => {
    node = new ScriptedNode({ answerTimeoutMs: 100 });
    node.onRequest = (request) => {
      if (request.id !== 1n) node.answer(request.id ?? 0n, 'identities');
    };
    node.nonces(2);
    await node.untilEvidence(1);
    const silent = node.batcher.ask(ask(1));
    await sleep(60);
    const other = node.batcher.ask(ask(2));
    await assert.rejects(silent.outcome, { code: 'agent.session.lost' });
    assert.deepEqual(await outcomes([other]), ['identities']);
  });

  test('a quote that the server kept waiting past the life of its nonce is made anew, not sent', async () => {
    node = new ScriptedNode();
    node.judges = false;
    node.nonces(1);
    const first = await node.untilEvidence(1);
    node.nonceLifeMs = 400;
    const [early] = node.nonces(1);
    const asked = node.batcher.ask(ask(1), { underQuote: true });
    await until(() => node.quotes.length === 2, 'the second quote is made');
    await sleep(500);
    node.nonceLifeMs = 5_000;
    const [late] = node.nonces(1);
    node.judges = true;
    node.batcher.receiveVerdict();
    const second = await node.untilEvidence(2);
    assert.notDeepEqual(second.nonce, early, 'the nonce that died');
    assert.deepEqual(second.nonce, late);
    assert.notDeepEqual(second.nonce, first.nonce);
    assert.deepEqual(
      second.requests?.map(({ id }) => id),
      [asked.id],
    );
    assert.deepEqual(await outcomes([asked]), ['identities']);
  });

  test('what is refused on reused evidence needs no confirmation', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 100 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'refusal');
    node.nonces(2);
    await node.untilEvidence(1);
    assert.deepEqual(await outcomes([node.batcher.ask(ask(1))]), ['refusal']);
    assert.deepEqual((await node.untilEvidence(2)).confirms, []);
  });

  test('where evidence is too old the request goes under the next quote, at once', async () => {
    node = new ScriptedNode();
    node.nonces(2);
    await node.untilEvidence(1);
    const asked = node.batcher.ask(ask(1));
    assert.deepEqual(await outcomes([asked]), ['identities']);
    assert.deepEqual(
      at(node.evidence, 1).requests?.map(({ id }) => id),
      [asked.id],
    );
    assert.deepEqual(at(node.evidence, 1).confirms, []);
  });

  test('what a quote answered is not confirmed again', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 100 });
    node.nonces(2);
    await outcomes([node.batcher.ask(ask(1))]);
    const count = node.evidence.length;
    assert.deepEqual((await node.untilEvidence(count + 1)).confirms, []);
  });

  test('a withdrawn container is not confirmed, also where the withdrawal came during the quote', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 150 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.quoteMs = 40;
    node.nonces(2);
    await node.untilEvidence(1);
    const [bad, good] = [node.batcher.ask(ask(1, 'bad')), node.batcher.ask(ask(2, 'good'))];
    await outcomes([bad, good]);
    await until(() => node.begun === 2, 'the second quote runs');
    node.batcher.forget('bad');
    node.nonces(2);
    const second = await node.untilEvidence(2);
    assert.deepEqual(second.confirms, [good.id]);
    assert.equal(node.quotes.length, 3, 'the quote over the withdrawn leaf was thrown away');
  });

  test('new entries found after a quote: what they withdraw is not confirmed, though the quote was ready', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 100 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const [bad, good] = [node.batcher.ask(ask(1, 'bad')), node.batcher.ask(ask(2, 'good'))];
    await outcomes([bad, good]);
    node.onAdvance = () => {
      node.onAdvance = undefined;
      node.listSentAtMs = performance.now();
      setTimeout(() => node.batcher.forget('bad'), 10);
    };
    node.nonces(2);
    const second = await node.untilEvidence(2);
    assert.deepEqual(second.confirms, [good.id]);
  });

  test('the list grows while the server judges the last evidence: the next tells the length that was sent by then', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 50 });
    node.judges = false;
    node.nonces(2);
    await node.untilEvidence(1);
    node.nonces(2);
    await until(() => node.quotes.length === 2, 'the second quote is made');
    await sleep(20);
    node.polledBytes = 77;
    node.judges = true;
    node.batcher.receiveVerdict();
    assert.equal((await node.untilEvidence(2)).listLength, 2_077n);
  });

  test('the list grows while what it takes is waited for: it is waited for anew', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 100 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const [bad, good] = [node.batcher.ask(ask(1, 'bad')), node.batcher.ask(ask(2, 'good'))];
    await outcomes([bad, good]);
    node.onAdvance = () => {
      node.onAdvance = undefined;
      node.listSentAtMs = performance.now();
      setTimeout(() => (node.listSentAtMs = performance.now()), 25);
      setTimeout(() => node.batcher.forget('bad'), 65);
    };
    node.nonces(2);
    assert.deepEqual((await node.untilEvidence(2)).confirms, [good.id]);
  });

  test('evidence whose nonce came too late: its requests and its confirmations go under the next quote', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 100 });
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const reused = node.batcher.ask(ask(1));
    await outcomes([reused]);
    node.judges = false;
    node.onEvidence = (evidence) => {
      node.onEvidence = undefined;
      node.judges = true;
      for (const { id } of evidence.requests ?? []) node.answer(id ?? 0n, 'quoteNeeded');
    };
    const quoted = node.batcher.ask(ask(2), { underQuote: true });
    assert.deepEqual(await outcomes([quoted]), ['identities']);
    const last = at(node.evidence, 2);
    assert.deepEqual([last.requests?.map(({ id }) => id), last.confirms], [[quoted.id], [reused.id]]);
  });

  test('a quote is made per interval, and no more than half of the time goes to quotes that nobody asked for', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 50 });
    node.quoteMs = 100;
    node.nonces(2);
    await sleep(900);
    const gaps = node.quotes.slice(1).map((quote, index) => quote.startMs - at(node.quotes, index).endMs);
    assert.ok(node.quotes.length >= 3, `${node.quotes.length} quotes`);
    for (const gapMs of gaps) assert.ok(gapMs > 90, `the chip rested ${gapMs} ms`);
  });

  test('with requests waiting the next quote begins without a rest', async () => {
    node = new ScriptedNode();
    node.quoteMs = 80;
    node.nonces(2);
    await sleep(20);
    await outcomes([node.batcher.ask(ask(1))]);
    const gapMs = at(node.quotes, 1).startMs - at(node.quotes, 0).endMs;
    assert.ok(gapMs < 20, `the next quote began after ${gapMs} ms`);
  });

  /** A chip that has quoted once, and rests since. */
  async function anIdleChip(quoteMs: number): Promise<void> {
    node = new ScriptedNode();
    node.quoteMs = quoteMs;
    node.nonces(2);
    await node.untilEvidence(1);
    await sleep(quoteMs / 4);
  }

  test('a lone request to an idle chip waits for companions a twentieth of a quote', async () => {
    await anIdleChip(400);
    const askedMs = performance.now();
    await outcomes([node.batcher.ask(ask(1), { underQuote: true })]);
    const heldMs = at(node.quotes, 1).startMs - askedMs;
    assert.ok(heldMs >= 15 && heldMs < 60, `held off ${heldMs} ms`);
  });

  test('a crowd that comes to an idle chip is waited for while it comes, and goes under one quote', async () => {
    await anIdleChip(1_000);
    const asked: Asked[] = [];
    for (let n = 0; n < 60; n += 1) {
      asked.push(node.batcher.ask(ask(n), { underQuote: true }));
      await sleep(5);
    }
    const lastMs = performance.now();
    await outcomes(asked);
    assert.equal(at(node.evidence, 1).requests?.length, 60);
    const heldMs = at(node.quotes, 1).startMs - lastMs;
    assert.ok(heldMs < 400, `held off for ${heldMs} ms after the last`);
  });

  test('requests that come faster and faster hold a quote up no longer than it takes', async () => {
    await anIdleChip(100);
    const askedMs = performance.now();
    let number = 0;
    for (let some = 1; node.begun < 2; some = Math.min(16, some * 1.3)) {
      for (let n = 0; n < some; n += 1) node.batcher.ask(ask(number++), { underQuote: true });
      await sleep(8);
      assert.ok(performance.now() - askedMs < 1_000, 'no quote began');
    }
  });

  test('a chip that was busy is not left to rest for those who come as fast as before', async () => {
    await anIdleChip(100);
    const asked: Asked[] = [];
    for (let n = 0; node.begun < 4; n += 1) {
      asked.push(node.batcher.ask(ask(n), { underQuote: true }));
      await sleep(10);
    }
    await outcomes(asked);
    const [, first, second, third] = node.quotes;
    for (const [one, next] of [
      [first, second],
      [second, third],
    ]) {
      const restMs = (next?.startMs ?? Number.NaN) - (one?.endMs ?? Number.NaN);
      assert.ok(restMs < 60, `the chip rested for ${restMs} ms`);
    }
  });

  test('a nonce that would die during the quote is not used', async () => {
    node = new ScriptedNode({ quoteIntervalMs: 50 });
    node.nonces();
    await node.untilEvidence(1);
    node.nonceLifeMs = 100;
    const [short] = node.nonces();
    await sleep(150);
    node.nonceLifeMs = 5_000;
    const [long] = node.nonces();
    await node.untilEvidence(3);
    assert.ok(node.evidence.some(({ nonce }) => toHex(nonce ?? AK_NAME) === toHex(long ?? AK_NAME)));
    assert.ok(!node.evidence.some(({ nonce }) => toHex(nonce ?? AK_NAME) === toHex(short ?? AK_NAME)));
  });

  test('a chip that fails once is asked again; one that goes on failing ends the session', async () => {
    node = new ScriptedNode();
    node.quoteMs = 1;
    node.quoteFaults = 1;
    node.nonces(2);
    await node.untilEvidence(1);
    node.quoteFaults = 99;
    node.batcher.ask(ask(1), { underQuote: true });
    await until(() => node.failed !== undefined, 'the batcher gives up');
  });

  test('a request without an answer in time is rejected; its late answer is confirmed and released', async () => {
    node = new ScriptedNode({ answerTimeoutMs: 60, quoteIntervalMs: 150 });
    node.onRequest = () => undefined;
    node.nonces(2);
    await node.untilEvidence(1);
    const { id, outcome } = node.batcher.ask(ask(1));
    await assert.rejects(outcome, { code: 'agent.session.lost' });
    node.answer(id, 'identities');
    await until(() => node.sent.some((message) => message.case === 'release'), 'it is released');
    assert.deepEqual((await node.untilEvidence(2)).confirms, [id]);
  });

  test('subscriptions that end together are released in one message', async () => {
    node = new ScriptedNode();
    node.onRequest = (request) => node.answer(request.id ?? 0n, 'identities');
    node.nonces(2);
    await node.untilEvidence(1);
    const asked = [1, 2, 3].map((number) => node.batcher.ask(ask(number)));
    await outcomes(asked);
    const released = () => node.sent.flatMap(({ case: kind, value }) => (kind === 'release' ? [value.ids] : []));
    node.batcher.release(at(asked, 0).id);
    node.batcher.release(at(asked, 2).id);
    await until(() => released().length > 0, 'they are released');
    node.batcher.release(at(asked, 1).id);
    await until(() => released().length > 1, 'so is a later one');
    assert.deepEqual(released(), [[at(asked, 0).id, at(asked, 2).id], [at(asked, 1).id]]);
  });

  test('a request that is given up before its quote takes no leaf', async () => {
    node = new ScriptedNode();
    node.quoteMs = 60;
    node.nonces(2);
    await sleep(10);
    const [gone, kept] = [node.batcher.ask(ask(1)), node.batcher.ask(ask(2))];
    node.batcher.release(gone.id);
    await assert.rejects(gone.outcome, { code: 'agent.session.lost' });
    await outcomes([kept]);
    assert.deepEqual(
      at(node.evidence, 1).requests?.map(({ id }) => id),
      [kept.id],
    );
  });

  test('the end of the session rejects what waits, and what comes later', async () => {
    node = new ScriptedNode();
    const waiting = node.batcher.ask(ask(1));
    node.batcher.end(new LacreError('agent.session.lost', 'over'));
    await assert.rejects(waiting.outcome, { message: 'over' });
    await assert.rejects(node.batcher.ask(ask(2)).outcome, { message: 'over' });
  });
});
