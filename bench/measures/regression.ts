import { setTimeout as delay } from 'node:timers/promises';
import { Bed } from '../bed.ts';
import { runCore } from '../core-run.ts';
import type { Context, Outcome } from '../measure.ts';
import { cpuMs } from '../process-cpu.ts';
import { FRESH_ENOUGH, FRESHER, type RoundOptions } from '../round.ts';
import { figure, median } from '../statistics.ts';

export const name = 'regression';
export const about =
  'in under a minute: the CPU that the main paths take, as multiples of one P-256 signature on the same core, beside bench/baseline.json';
/** Part of CI, and of no whole run: what it says the other measures say at length. */
export const onRequest = true;

const WORKLOADS = 20;
const ROUNDS = 5;
const IDLE_MS = 5_000;

interface Yardstick {
  readonly signatures: number;
  readonly hashes: number;
}

export async function run({ say }: Context): Promise<Outcome> {
  say('one core');
  const { signatures, hashes } = await runCore<Yardstick>('yardstick.ts', 1);
  const { svids } = await runCore<{ svids: number }>('svid-sign.ts', 1);
  const evidence = await runCore<{ ecdsaQuotes: number; eventLogs: number }>('evidence.ts', 0.7);
  const list = await runCore<{ proven: number; matched: number }>('list-entries.ts', 50_000, 2);
  const again = await runCore<Yardstick>('yardstick.ts', 1);
  // The faster of the two: what else the machine does only slows it down.
  const [signature, hash] = [1 / Math.max(signatures, again.signatures), 1 / Math.max(hashes, again.hashes)];
  const node = await nodeCosts(say);
  const ratios = {
    'SVID signed / signature': 1 / svids / signature,
    'ECDSA quote verified / signature': 1 / evidence.ecdsaQuotes / signature,
    'event log replayed / signature': 1 / evidence.eventLogs / signature,
    'list entry proven / SHA-256 of 160 bytes': 1 / list.proven / hash,
    'list entry proven and matched / SHA-256 of 160 bytes': 1 / list.matched / hash,
    'agent CPU, first SVID on fresh evidence / signature': node.agentFreshMs / (1000 * signature),
    'server CPU, first SVID on fresh evidence / signature': node.serverFreshMs / (1000 * signature),
    'agent CPU, first SVID under a quote / signature': node.agentQuotedMs / (1000 * signature),
    'server CPU, first SVID under a quote / signature': node.serverQuotedMs / (1000 * signature),
    'agent CPU, a second of idling / signature': node.agentIdleMs / (1000 * signature),
  };
  const rows = Object.entries(ratios).map(([measure, ratio]) => ({ measure, goal: '', seen: figure(ratio) }));
  return { rows, ratios, details: { signature, hash, svids, ...evidence, ...list, ...node } };
}

/** CPU on a small node of its own, in milliseconds for one SVID, or for a second of idling. */
async function nodeCosts(say: (text: string) => void) {
  await using bed = await Bed.create(say);
  bed.node.proxy.quoteMs = 25;
  await bed.grow(WORKLOADS);
  const ask: RoundOptions = { count: WORKLOADS, client: 'light' };
  const rounds = async () => {
    const costs = [];
    for (let round = 0; round < ROUNDS; round += 1) costs.push(await bed.round('lacre', ask));
    return {
      agentMs: median(costs.map(({ agentCpuMs }) => agentCpuMs / WORKLOADS)),
      serverMs: median(costs.map(({ serverCpuMs }) => serverCpuMs / WORKLOADS)),
    };
  };
  await rounds();
  say(`${WORKLOADS} workloads, ${ROUNDS} rounds on fresh evidence and under a quote`);
  const fresh = await rounds();
  await bed.turn('agent', { underQuote: FRESHER, watchDelay: false });
  const quoted = await rounds();
  await bed.turn('agent', { underQuote: FRESH_ENOUGH, watchDelay: false });
  const { agentPid = 0 } = bed.node.programs;
  const before = await cpuMs(agentPid);
  await delay(IDLE_MS);
  return {
    agentFreshMs: fresh.agentMs,
    serverFreshMs: fresh.serverMs,
    agentQuotedMs: quoted.agentMs,
    serverQuotedMs: quoted.serverMs,
    agentIdleMs: (1000 * ((await cpuMs(agentPid)) - before)) / IDLE_MS,
  };
}
