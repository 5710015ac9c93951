/**
 * Entries of a measurement list verified a second: `node bench/core/list-entries.ts [entries] [rounds]`. The list is a host's: ima-ng,
 * SHA-256, every file another one, each among the reference values, which the server knows before it reads the list. Prints one JSON object; times are of CPU.
 */
import { Closure } from '../../src/appraisal/closure.ts';
import { EpochAppraisal } from '../../src/appraisal/epoch-appraisal.ts';
import { FileTable } from '../../src/appraisal/reference/file-table.ts';
import { sha256, ZERO_SHA256 } from '../../src/bytes/sha256.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { listEntry } from '../../test/simulator/hostile-entry.ts';
import { softQuote } from '../../test/simulator/soft-quote.ts';
import { cpuSeconds } from './per-second.ts';

const [count, rounds] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 5)];
const CHUNK_BYTES = 512 * 1024;
const ZERO = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };

/** Path number n, and the digest of what the file holds; bench/core/keylime_entries.py makes the same. */
function fileOf(number: number) {
  const path = `/usr/lib/x86_64-linux-gnu/python3/dist-packages/module_${number}.so`;
  return { path, sha256: sha256(new Uint8Array(Buffer.from(path))), mode: 0o755 };
}

function chunksOf(entries: readonly Uint8Array[]): Uint8Array[] {
  const bytes = Buffer.concat(entries);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    chunks.push(new Uint8Array(bytes.subarray(at, at + CHUNK_BYTES)));
  return chunks;
}

const files = Array.from({ length: count }, (_, number) => fileOf(number));
const chunks = chunksOf(
  files.map(({ path, sha256: digest }) => listEntry({ pcr: 10, template: 'ima-ng', path, digest, rest: [] })),
);
const table = FileTable.of(files);
const closure = new Closure([], [table]);
const fixed = new Map(QUOTED_PCRS.map((pcr) => [pcr, ZERO_SHA256]));
const whole = new ListReplay(ZERO);
for (const chunk of chunks) whole.append(chunk);
const quote = softQuote(new Map([...fixed, [10, whole.pcrsAt(count)?.pcr10 ?? ZERO_SHA256]]));

const [proven, matched]: [number[], number[]] = [[], []];
for (let round = 0; round < rounds; round += 1) {
  const began = cpuSeconds();
  const replay = new ListReplay(ZERO);
  replay.know([table.index]);
  const appraisal = new EpochAppraisal();
  const measurements = chunks.flatMap((chunk) => replay.append(chunk));
  replay.verify(quote, fixed);
  if (replay.verifiedLength !== count) throw new Error(`${replay.verifiedLength} entries were proven`);
  proven.push(count / (cpuSeconds() - began));
  for (const entry of measurements) appraisal.feed(entry, { kind: 'host' });
  const { executed } = appraisal.host.judged(closure, (sighting) => closure.judge(sighting));
  if (executed.count > 0) throw new Error(`${executed.count} entries were no reference values`);
  matched.push(count / (cpuSeconds() - began));
}
process.stdout.write(`${JSON.stringify({ count, proven: Math.max(...proven), matched: Math.max(...matched) })}\n`);
