import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { LacreError } from '../lacre-error.ts';
import type { AttestMessage } from './batcher.ts';
import { EvidenceFeed, type SeenContainer } from './evidence.ts';
import { MeasurementList } from './measurement-list.ts';

let folder: string;
let path: string;
let list: MeasurementList;
let sent: AttestMessage[];
let version: number;
let seen: Map<string, SeenContainer>;
let fault: LacreError | undefined;
let stop: AbortController;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-poll-'));
  path = join(folder, 'list');
  await writeFile(path, 'first');
  list = await MeasurementList.open(path);
  [sent, version, seen, fault, stop] = [[], 1, new Map(), undefined, new AbortController()];
});

afterEach(async () => {
  stop.abort();
  await list.close();
  await rm(folder, { recursive: true });
});

function poll(sendMs = 0): Promise<void> {
  const feed = new EvidenceFeed({
    list,
    containers: { seen: () => seen, version: () => version, look: async () => undefined },
    pollIntervalMs: 10,
    send: async (message) => {
      sent.push(message);
      await sleep(sendMs);
      if (fault !== undefined) throw fault;
    },
    gone: () => undefined,
  });
  return feed.poll(stop.signal);
}

const texts = () =>
  sent.flatMap(({ case: kind, value }) => (kind === 'list' ? [String(Buffer.from(value.data ?? []))] : []));

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries += 1) {
    assert.ok(tries < 300, 'it was not sent');
    await sleep(10);
  }
}

test('what the list grows by is sent, once, also what comes while something is on its way', async () => {
  const polling = poll(40);
  await until(() => texts().length === 1);
  await appendFile(path, 'second');
  await until(() => texts().length === 2);
  await appendFile(path, 'third');
  await until(() => texts().length === 3);
  assert.deepEqual(texts(), ['first', 'second', 'third']);
  stop.abort();
  await polling;
});

test('where nothing is new nothing is sent; a change of containers is', async () => {
  void poll();
  await until(() => texts().length === 1);
  await sleep(50);
  const before = sent.length;
  await sleep(100);
  assert.equal(sent.length, before);
  seen = new Map([['c', { bytes: Uint8Array.of(1), sha256Hex: '01' }]]);
  version += 1;
  await until(() => sent.length > before);
  const last = sent.at(-1);
  assert.deepEqual(last?.case === 'containers' && last.value.containers, [Uint8Array.of(1)]);
});

test('it ends when it is told to, and begins not at all where it was told before', async () => {
  const polling = poll();
  await until(() => texts().length === 1);
  await sleep(50);
  stop.abort();
  await polling;
  await appendFile(path, 'later');
  await sleep(50);
  assert.deepEqual(texts(), ['first']);
  await poll();
});

test('a list that is shorter than it was, and a message that can’t be sent, end it with their errors', async () => {
  const polling = poll();
  await until(() => texts().length === 1);
  await truncate(path, 2);
  await assert.rejects(polling, { code: 'agent.list.shrunk' });
  fault = new LacreError('agent.session.lost', 'the server is gone');
  await assert.rejects(poll(), { code: 'agent.session.lost' });
});
