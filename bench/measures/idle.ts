import { setTimeout as delay } from 'node:timers/promises';
import { Bed } from '../bed.ts';
import type { Context, Outcome } from '../measure.ts';
import { cpuMs, residentMb } from '../process-cpu.ts';

export const name = 'idle';
export const about =
  'memory and CPU of the shipped executable with 150 workloads that have their identities and ask for nothing';

const WORKLOADS = 150;
const [AGENT_MB, IDLE_SHARE] = [90, 0.002];

export async function run({ quick, say }: Context): Promise<Outcome> {
  await using bed = await Bed.create(say, { shipped: true });
  bed.node.proxy.quoteMs = 70;
  await bed.grow(WORKLOADS);
  const streams = await bed.hold(WORKLOADS);
  const { agentPid = 0, serverPid = 0 } = bed.node.programs;
  // The first minute is the start's: memory of compiling and of the crowd is given back in it.
  await delay(quick ? 45_000 : 60_000);
  const watchMs = quick ? 15_000 : 60_000;
  say(`nobody asks for ${watchMs / 1000} s`);
  const before = [await cpuMs(agentPid), await cpuMs(serverPid)];
  const began = performance.now();
  await delay(watchMs);
  const tookMs = performance.now() - began;
  const [agentShare = 0, serverShare = 0] = [await cpuMs(agentPid), await cpuMs(serverPid)].map(
    (used, index) => (used - (before[index] ?? 0)) / tookMs,
  );
  const [agent, server] = [await residentMb(agentPid), await residentMb(serverPid)];
  await streams.close();
  return {
    rows: [
      {
        measure: `agent, resident memory, ${WORKLOADS} idle workloads with open streams`,
        goal: `≤ ${AGENT_MB} MB`,
        seen: `${agent.all.toFixed(0)} MB (${agent.anonymous.toFixed(0)} MB of it backed by no file); server ${server.all.toFixed(0)} MB`,
        met: agent.all <= AGENT_MB,
      },
      {
        measure: `agent, CPU when idle, ${WORKLOADS} workloads, a quote every 15 s`,
        goal: `≤ ${100 * IDLE_SHARE} % of a core`,
        seen: `${(100 * agentShare).toFixed(2)} % (server ${(100 * serverShare).toFixed(2)} %)`,
        met: agentShare <= IDLE_SHARE,
      },
    ],
    ratios: { 'agent resident MB / 90': agent.all / AGENT_MB, 'agent idle share / 0.2 %': agentShare / IDLE_SHARE },
    details: { agent, server, agentShare, serverShare },
  };
}
