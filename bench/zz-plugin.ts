// biome-ignore-all lint: ad hoc, never committed

import { Bed } from './bed.ts';
import { agentCpuOf, meanOf, meanRatio, pairs, serverCpuOf } from './pairs.ts';
import { cpuMs } from './process-cpu.ts';

const say = (t: string) => process.stderr.write(`${t}\n`);
const profile = process.argv[2];
const rounds = Number(process.argv[3] ?? 6);
await using bed = await Bed.create(say);
bed.node.proxy.quoteMs = 70;
await bed.grow(150);
await bed.startPlugin();
const APIS = ['spire-lacre', 'spire'] as const;
await pairs(bed, { rounds: 2, count: 150, apis: APIS });
for (const underQuote of [false, true]) {
  await bed.turn('plugin', {
    underQuote,
    watchDelay: true,
    ...(profile && { profile: `${profile}/plugin-${underQuote}.cpuprofile` }),
  });
  await bed.turn('server', {
    underQuote,
    watchDelay: true,
    ...(profile && { profile: `${profile}/server-${underQuote}.cpuprofile` }),
  });
  const sp = await bed.spire();
  const pid = await sp.pluginPid('spire-lacre');
  const c0 = await cpuMs(pid);
  const p = await pairs(bed, { rounds, count: 150, apis: APIS });
  const c1 = await cpuMs(pid);
  say(`plugin cpu ${((c1 - c0) / rounds / 150).toFixed(2)} ms`);
  const { delayMs } = await bed.turn('plugin', { underQuote, watchDelay: false });
  const { delayMs: s } = await bed.turn('server', { underQuote, watchDelay: false });
  say(
    `underQuote ${underQuote}: own ${meanOf(p.own).toFixed(0)} other ${meanOf(p.other).toFixed(0)} ratio ${meanRatio(p).toFixed(2)} agents' cpu ${agentCpuOf(p.own).toFixed(2)} vs ${agentCpuOf(p.other).toFixed(2)}; servers' ${serverCpuOf(p.own).toFixed(2)} vs ${serverCpuOf(p.other).toFixed(2)}; quotes ${p.own.map((r) => r.quotes)}; delay ${JSON.stringify(delayMs)} ${JSON.stringify(s)}`,
  );
}
