import { setImmediate as nextTurn } from 'node:timers/promises';
import { ZERO_SHA256 } from '../src/bytes/sha256.ts';
import { ListReplay } from '../src/ima/list-replay.ts';
import { QUOTED_PCRS } from '../src/tpm/quote.ts';
import { evmSigFields, listEntry } from '../test/simulator/hostile-entry.ts';
import { softQuote } from '../test/simulator/soft-quote.ts';

// Replay of a long measurement list on one core: `node bench/list-replay.ts [entries]`. Prints entries per second, the longest
// turn of the event loop, and memory. Entries are as in a container's list: evm-sig, paths of libraries, PCR 10 and 13.

const CHUNK_BYTES = 512 * 1024;
const count = Number(process.argv[2] ?? 1_000_000);
const zero = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const fixed = new Map(QUOTED_PCRS.map((pcr) => [pcr, ZERO_SHA256]));

function chunks(entries: number): Uint8Array[] {
  const written: Uint8Array[] = [];
  let pending: Uint8Array[] = [];
  let size = 0;
  const digest = new Uint8Array(32).fill(1);
  for (let i = 0; i < entries; i++) {
    new DataView(digest.buffer).setUint32(0, i);
    const path = `/usr/lib/x86_64-linux-gnu/python3/dist-packages/module_${i}.so`;
    const entry = listEntry({
      pcr: i % 3 === 0 ? 10 : 13,
      template: 'evm-sig',
      path,
      digest,
      rest: evmSigFields(200_000 + (i % 150) * 1024),
    });
    pending.push(entry);
    size += entry.length;
    if (size >= CHUNK_BYTES || i === entries - 1) {
      written.push(Buffer.concat(pending));
      pending = [];
      size = 0;
    }
  }
  return written;
}

const list = chunks(count);
const bytes = list.reduce((sum, chunk) => sum + chunk.length, 0);
console.log(`${count} entries, ${(bytes / 2 ** 20).toFixed(1)} MiB, chunks of ${CHUNK_BYTES / 1024} KiB`);

for (let round = 0; round < 3; round++) {
  const replay = new ListReplay(zero);
  const before = process.memoryUsage();
  let longestMs = 0;
  let seen = 0;
  const started = performance.now();
  const cpu = process.cpuUsage();
  for (const chunk of list) {
    const turn = performance.now();
    for (const entry of replay.append(chunk)) if (entry.iuid !== undefined) seen += 1;
    longestMs = Math.max(longestMs, performance.now() - turn);
    await nextTurn();
  }
  const appendMs = performance.now() - started;
  const used = process.cpuUsage(cpu);
  const cpuSeconds = (used.user + used.system) / 1e6;
  const memory = process.memoryUsage();
  const kept = (memory.arrayBuffers - before.arrayBuffers) / 2 ** 20;
  const last = replay.pcrsAt(replay.length) ?? zero;
  const quote = softQuote(new Map([...fixed, [10, last.pcr10], [13, last.pcr13], [14, last.pcr14]]));
  const verifying = performance.now();
  replay.verify(quote, fixed);
  const verifyMs = performance.now() - verifying;
  console.log(
    `append ${Math.round((seen / appendMs) * 1000)} entries/s, ${Math.round(seen / cpuSeconds)} a second of CPU, longest turn ${longestMs.toFixed(1)} ms; verify at the end ${verifyMs.toFixed(1)} ms; ${kept.toFixed(0)} MiB of prefixes, heap ${(memory.heapUsed / 2 ** 20).toFixed(0)} MiB`,
  );
}

// The worst case: nothing explains the quote, so that every prefix is looked at.
const replay = new ListReplay(zero);
for (const chunk of list) replay.append(chunk);
const searching = performance.now();
let longestPauseMs = 0;
let turn = performance.now();
const pause = async (): Promise<void> => {
  longestPauseMs = Math.max(longestPauseMs, performance.now() - turn);
  await nextTurn();
  turn = performance.now();
};
await replay.verifyInTurns(softQuote(new Map([[13, new Uint8Array(32).fill(1)]])), fixed, pause).catch(() => undefined);
const searchMs = performance.now() - searching;
console.log(
  `search in vain ${Math.round((count / searchMs) * 1000)} prefixes/s, longest turn ${longestPauseMs.toFixed(1)} ms`,
);
