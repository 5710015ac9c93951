/**
 * A long list as a session takes it: `node bench/core/list-turns.ts [entries]`. Chunks of 512 KiB, one quote over all of it, then
 * the verdict over the host; the longest that the event loop was held by any of it, and how long all of it took. 1,000 files,
 * measured with many owners of one container's range. Prints one JSON object; times are of the thread's CPU, in milliseconds.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create } from '@bufbuild/protobuf';
import { Closure } from '../../src/appraisal/closure.ts';
import { FileTable } from '../../src/appraisal/reference/file-table.ts';
import { sha256, ZERO_SHA256 } from '../../src/bytes/sha256.ts';
import { DomainBook } from '../../src/container/domain-book.ts';
import { decodeContainer, encodeContainer } from '../../src/container/record.ts';
import { ListReplay } from '../../src/ima/list-replay.ts';
import { prepareFolds } from '../../src/ima/pending-prefixes.ts';
import { NodeObservationSchema } from '../../src/proto/lacre/v1/record_pb.ts';
import { EntrySorter } from '../../src/server/node-state-entries.ts';
import { QUOTED_PCRS } from '../../src/tpm/quote.ts';
import { evmSigFields, listEntry } from '../../test/simulator/hostile-entry.ts';
import { containerOf, POOL_BASE, uidOf } from '../../test/simulator/scripted-node.ts';
import { softQuote } from '../../test/simulator/soft-quote.ts';

const count = Number(process.argv[2] ?? 1_000_000);
const [FILES, OWNERS, CHUNK_BYTES] = [1000, 1023, 512 * 1024];
const ZERO = { pcr10: ZERO_SHA256, pcr13: ZERO_SHA256, pcr14: ZERO_SHA256 };
const files = Array.from({ length: FILES }, (_, number) => {
  const path = `/usr/lib/x86_64-linux-gnu/app/module-${number}.so`;
  return { path, sha256: sha256(new Uint8Array(Buffer.from(path))), mode: 0o755 };
});
const table = FileTable.of(files);

function* chunks(): Generator<Uint8Array> {
  let [parts, bytes]: [Uint8Array[], number] = [[], 0];
  for (let number = 0; number < count; number += 1) {
    const { path, sha256: digest } = files[number % FILES] ?? { path: '', sha256: ZERO_SHA256 };
    const owner = Math.floor(number / FILES);
    const uid = uidOf(1) + 1 + (owner % OWNERS);
    const rest = evmSigFields(uid, uid + Math.floor(owner / OWNERS));
    const entry = listEntry({ pcr: 10, template: 'evm-sig', path, digest, rest });
    parts.push(entry);
    bytes += entry.length;
    if (bytes < CHUNK_BYTES && number < count - 1) continue;
    const whole = new Uint8Array(Buffer.concat(parts));
    for (let at = 0; at < whole.length; at += CHUNK_BYTES) yield whole.slice(at, at + CHUNK_BYTES);
    [parts, bytes] = [[], 0];
  }
}

const turns = { longest: 0, what: '', total: 0 };
let began = 0;

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Ends a turn: what came since the last one held the event loop. */
async function turn(what: string): Promise<void> {
  const took = cpuMs() - began;
  turns.total += took;
  if (took > turns.longest) Object.assign(turns, { longest: took, what });
  await nextTurn();
  began = cpuMs();
}

const book = new DomainBook(POOL_BASE);
const observation = create(NodeObservationSchema, { unprivilegedUsernsClone: 1 });
const changed = [decodeContainer(encodeContainer(containerOf(1)))];
book.apply({ changed, gone: [], complete: true, observation });
const replay = new ListReplay(ZERO);
replay.know([table.index]);
const sorter = new EntrySorter(POOL_BASE);
const fixed = new Map(QUOTED_PCRS.map((pcr) => [pcr, ZERO_SHA256]));
prepareFolds();
const list = [...chunks()];
setFlagsFromString('--expose-gc');
(runInNewContext('gc') as () => void)();
for (const chunk of list) {
  began = cpuMs();
  await replay.appendInTurns(
    chunk,
    (found) => sorter.append(found, book),
    () => turn('append'),
  );
  sorter.takeTouched();
  await turn('append, end');
}
const quote = softQuote(new Map([...fixed, [10, replay.pcrsAt(count)?.pcr10 ?? ZERO_SHA256]]));
began = cpuMs();
await replay.verifyInTurns(quote, fixed, () => turn('verify'));
await turn('verify, end');
await sorter.settle(
  replay.verifiedLength,
  () => book,
  new Date(),
  () => turn('settle'),
);
await turn('settle, end');
const closure = new Closure([], [table]);
const [domain] = book.domains();
const { executed } = sorter.quoted.domain(domain?.id ?? '').judged(closure, (sighting) => closure.judge(sighting));
await turn('judge');
if (executed.count > 0 || replay.verifiedLength !== count) throw new Error('not all entries were proven and explained');
const rss = process.memoryUsage().rss / 1e6;
process.stdout.write(
  `${JSON.stringify({ count, longestMs: turns.longest, in: turns.what, totalMs: turns.total, rssMb: rss })}\n`,
);
