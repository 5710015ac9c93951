import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { AttestMessage } from './batcher.ts';
import { EvidenceFeed } from './evidence.ts';
import { MeasurementList } from './measurement-list.ts';

let folder: string;
let path: string;
let list: MeasurementList;
let sent: AttestMessage[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lacre-feed-'));
  path = join(folder, 'list');
  await writeFile(path, 'known as it is read on: ');
  list = await MeasurementList.open(path, 24);
  sent = [];
});

afterEach(async () => {
  await list.close();
  await rm(folder, { recursive: true });
});

function feed(hooks: { look?: () => void; send?: () => Promise<void> } = {}): EvidenceFeed {
  return new EvidenceFeed({
    list,
    containers: { seen: () => new Map(), version: () => 1, look: async () => hooks.look?.() },
    pollIntervalMs: 10,
    send: (message) => {
      sent.push(message);
      return hooks.send?.() ?? Promise.resolve();
    },
    gone: () => {},
  });
}

const lists = () => sent.flatMap((message) => (message.case === 'list' ? [message.value] : []));

test('of the list that much is sent as was handed over, from where the server knows it', async () => {
  const one = feed();
  assert.equal(one.listSent().bytes, 24);
  await appendFile(path, 'entry');
  await one.advance();
  await appendFile(path, 'entries');
  await one.advance();
  assert.deepEqual(
    lists().map(({ offset }) => offset),
    [24n, 29n],
  );
  assert.equal(one.listSent().bytes, 36);
});

test('what was read and waits for a look at the containers is not sent yet; what is on its way is', async () => {
  const during: number[] = [];
  const one = feed({
    look: () => during.push(one.listSent().bytes),
    send: async () => {
      await null;
      if (sent.at(-1)?.case === 'list') during.push(one.listSent().bytes);
    },
  });
  await appendFile(path, 'entry');
  await one.advance();
  assert.deepEqual(during, [24, 29]);
});

test('the time is that at which the message was taken, not that at which it began to wait', async () => {
  const taken = Promise.withResolvers<void>();
  const one = feed({ send: () => (sent.at(-1)?.case === 'list' ? taken.promise : Promise.resolve()) });
  await appendFile(path, 'entry');
  const advanced = one.advance();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const takenAtMs = performance.now();
  taken.resolve();
  await advanced;
  assert.ok(one.listSent().atMs >= takenAtMs);
});
