import { setTimeout as delay } from 'node:timers/promises';
import type { ReferenceFile } from '../../src/appraisal/reference/file-table.ts';
import { sha256 } from '../../src/bytes/sha256.ts';
import { evmSigEntry, type ListEntry } from '../../test/simulator/list-entry.ts';
import { Bed } from '../bed.ts';
import type { Context, Outcome } from '../measure.ts';
import { residentMb } from '../process-cpu.ts';
import { growthRow, type TurnCost, turnCost } from '../turn-cost.ts';

export const name = 'list-length';
export const about = 'what a first X.509-SVID costs on a node whose measurement list has 1,000 to 1,000,000 entries';

const FILES = 1000;
/** Of a container's 1,024 users, those that own files. */
const OWNERS = 1023;
/** Entries that are written at once: the server holds unproven ones in memory, up to a limit. */
const STEP = 20_000;
const PROVEN_TIMEOUT_MS = 120_000;
const ENROL_TIMEOUT_MS = 60_000;

interface ListCost extends TurnCost {
  /** From the start of an agent until the server trusts the node; undefined: it did not within the time. */
  readonly enrolMs: number | undefined;
  readonly serverMb: number;
  readonly agentMb: number;
}

/** The list is one container's, whose image's 1,000 files are measured with many owners: every entry is another one. */
export async function run({ quick, say }: Context): Promise<Outcome> {
  const lengths = quick ? [1000, 100_000] : [1000, 10_000, 100_000, 1_000_000];
  const references = referenceFiles();
  await using bed = await Bed.create(say, { references, serverSettings: 'quote_interval: 1s' });
  bed.node.proxy.quoteMs = 25;
  await bed.grow(1);
  const seen = new Map<number, ListCost>();
  for (const length of lengths) {
    say(`a list of ${length.toLocaleString('en')} entries`);
    await growList(bed, { length, references });
    const cost = await turnCost(bed, { container: 0, turns: quick ? 60 : 150 });
    const enrolMs = await enrolAgain(bed);
    const { serverPid = 0, agentPid = 0 } = bed.node.programs;
    const [server, agent] = [await residentMb(serverPid), await residentMb(agentPid)];
    seen.set(length, { ...cost, enrolMs, serverMb: server.all, agentMb: agent.all });
  }
  const [first, last] = [lengths[0] ?? 0, lengths.at(-1) ?? 0];
  const [small, large] = [seen.get(first), seen.get(last)];
  if (small === undefined || large === undefined) throw new Error('nothing was measured');
  const what = `list of ${last.toLocaleString('en')} entries beside ${first.toLocaleString('en')}`;
  const points = (part: (cost: ListCost) => number, name: string) =>
    [...seen].map(([x, cost]) => ({ name, x, y: part(cost) }));
  return {
    rows: [
      ...growthRow(what, small, large),
      {
        measure: `agent started anew, list of ${last.toLocaleString('en')} entries: until the server trusts the node`,
        goal: '',
        seen: `${large.enrolMs === undefined ? 'not trusted within a minute' : `${(large.enrolMs / 1000).toFixed(1)} s`} (server ${large.serverMb.toFixed(0)} MB after it)`,
      },
    ],
    ratios: { [`CPU with a list of ${last} / ${first}`]: large.cpuMs / small.cpuMs },
    plots: [
      {
        title: "One more workload's first X.509-SVID, by the length of the node's list",
        x: 'entries of the list',
        y: 'milliseconds',
        logX: true,
        points: [
          ...points((cost) => cost.freshMs, 'time, evidence still fresh'),
          ...points((cost) => cost.quotedMs, 'time, quote of 25 ms'),
          ...points((cost) => cost.cpuMs, 'CPU, agent and server'),
        ],
      },
      {
        title: 'Agent started anew: until the server trusts the node',
        x: 'entries of the list',
        y: 'milliseconds',
        logX: true,
        logY: true,
        points: points((cost) => cost.enrolMs ?? Number.NaN, 'enrolment and first quote').filter(
          ({ y }) => !Number.isNaN(y),
        ),
      },
    ],
    details: Object.fromEntries(seen),
  };
}

function referenceFiles(): ReferenceFile[] {
  return Array.from({ length: FILES }, (_, index) => {
    const path = `/usr/lib/x86_64-linux-gnu/app/module-${index}.so`;
    return { path, sha256: sha256(new Uint8Array(Buffer.from(path))), mode: 0o755 };
  });
}

/** Entry number n (from 0): file n modulo 1,000, the next owner with every 1,000. */
function* entries(
  range: { from: number; to: number },
  files: readonly ReferenceFile[],
  uidBase: number,
): Generator<ListEntry> {
  for (let number = range.from; number < range.to; number += 1) {
    const file = files[number % FILES];
    const owner = Math.floor(number / FILES);
    // Beyond the last owner the group changes.
    const uid = uidBase + 1 + (owner % OWNERS);
    if (file !== undefined) yield evmSigEntry(10, file, { uid, gid: uid + Math.floor(owner / OWNERS) });
  }
}

async function growList(bed: Bed, { length, references }: { length: number; references: readonly ReferenceFile[] }) {
  const { kernel } = bed.node;
  const uidBase = bed.node.containers[0]?.uidBase ?? 0;
  while (kernel.count < length) {
    const from = kernel.count;
    const to = Math.min(length, from + STEP);
    await kernel.appendAll([...entries({ from, to }, references, uidBase)]);
    await untilProven(bed, kernel.count);
  }
}

async function enrolAgain(bed: Bed): Promise<number | undefined> {
  await bed.node.stopAgent('SIGTERM');
  const began = performance.now();
  return bed.startAgent(ENROL_TIMEOUT_MS).then(
    () => performance.now() - began,
    () => undefined,
  );
}

async function untilProven(bed: Bed, count: number): Promise<void> {
  const deadline = performance.now() + PROVEN_TIMEOUT_MS;
  for (;;) {
    const { verifiedEntries } = await bed.admin.nodeInfo();
    if (Number(verifiedEntries) >= count) return;
    if (performance.now() > deadline)
      throw new Error(
        `${verifiedEntries} of ${count} entries were proven\n${bed.node.programs.log.slice(-20).join('')}`,
      );
    await delay(100);
  }
}
