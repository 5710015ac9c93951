import type { DemoNames } from '../image/demo-image.ts';
import {
  type ContainerReport,
  containerReport,
  type NodeReport,
  nodeReport,
  spiffeId,
  unexpectedStart,
} from '../lab-report.ts';
import type { Timings } from '../progress.ts';
import { CONTAINERS, type ContainerName, standing } from '../scenario.ts';
import type { SpireDrift, SpireObservation } from './spire-scenario.ts';
import type { SpireAgentInfo } from './spire-server.ts';

/** What `lab up --spire --output json` prints. */
export interface SpireReport {
  /** With the selectors that spire-server has of its agent. */
  readonly node: NodeReport & { readonly selectors: readonly string[] };
  /** With the reason that spire-agent's log gives for a refusal. */
  readonly containers: readonly (ContainerReport & { readonly refusal: string | null })[];
  readonly drift: {
    readonly container: ContainerName;
    /** From the moment the changed program ran to the plugin's line that the container is trusted no more. */
    readonly noticedAfterMs: number | null;
    /** From there to the end of the container's first process, as podman has it. */
    readonly stoppedAfterMs: number | null;
    /** It is there still, as an ended one. */
    readonly kept: boolean;
    /** The other three run on, and payments has its identity. */
    readonly othersRunning: boolean;
  };
  readonly timingsMs: Timings;
}

export interface SpireRun {
  readonly settled: SpireObservation;
  readonly change: SpireDrift;
  readonly agents: readonly SpireAgentInfo[];
  readonly images: DemoNames;
}

export function spireReport({ settled, change, agents, images }: SpireRun, timings: Timings): SpireReport {
  const [agent] = agents;
  return {
    node: { ...nodeReport(change.seen), spiffeId: agent?.spiffeId ?? null, selectors: agent?.selectors ?? [] },
    containers: CONTAINERS.map((name) => ({
      ...containerReport(name, settled, images),
      refusal: settled.refusals.get(name) ?? null,
    })),
    drift: driftReport(change),
    timingsMs: timings,
  };
}

function driftReport({ executedAtUnixMs, noticedAtUnixMs, states, seen }: SpireDrift): SpireReport['drift'] {
  const orders = states.get('orders');
  const after = (unixMs: number | undefined) => (unixMs === undefined ? null : unixMs - executedAtUnixMs);
  return {
    container: 'orders',
    noticedAfterMs: after(noticedAtUnixMs),
    stoppedAfterMs: after(orders?.status === 'exited' ? orders.endedAtUnixMs : undefined),
    kept: orders?.status === 'exited',
    othersRunning:
      CONTAINERS.every((name) => name === 'orders' || states.get(name)?.status === 'running') &&
      standing(seen.lines.get('payments') ?? []).spiffeId === spiffeId('payments'),
  };
}

/** Everything that is not as the lab wants to show it, as sentences; none: it all was. */
export function unexpectedOfSpire(report: SpireReport, { settled }: SpireRun, agentId: string): string[] {
  const faults = unexpectedStart(report, settled);
  const check = (holds: boolean, sentence: string) => {
    if (!holds) faults.push(sentence);
  };
  check(report.node.spiffeId === agentId, `spire-server knows no agent ${agentId}`);
  for (const selector of ['lacre_tpm:root:software', 'lacre_tpm:host:standard'])
    check(report.node.selectors.includes(selector), `spire-server's agent has no selector ${selector}`);
  for (const { name, refusal } of report.containers) {
    const good = name === 'orders' || name === 'payments';
    check(good === (refusal === null), `${name}: spire-agent's log ${good ? 'refuses it' : 'has no reason'}`);
  }
  const { noticedAfterMs, stoppedAfterMs, kept, othersRunning } = report.drift;
  check(noticedAfterMs !== null, 'orders: the plugin did not say that it is trusted no more');
  check(stoppedAfterMs !== null && kept, 'orders: was not stopped and kept');
  check(othersRunning, 'another container than orders does not run on as it was');
  return faults;
}
