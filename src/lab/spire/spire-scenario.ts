import type { LabAdmin } from '../admin.ts';
import type { BuiltNode } from '../image/node-build.ts';
import type { LabNode } from '../lab-node.ts';
import { TRUST_DOMAIN } from '../lab-server.ts';
import type { ControlChannel } from '../machine/control-channel.ts';
import {
  CONTAINERS,
  type ContainerName,
  entrySelectors,
  isSettled,
  type Observation,
  observe,
  runChanged,
  watch,
} from '../scenario.ts';
import type { SpireAgent } from './spire-agent.ts';
import type { SpireServer } from './spire-server.ts';

/** What is known besides, from spire-agent's log. */
export interface SpireObservation extends Observation {
  /** Reasons of the plugin, by container. */
  readonly refusals: ReadonlyMap<ContainerName, string>;
  /** Containers that the plugin says it stopped. */
  readonly stopped: ReadonlySet<ContainerName>;
}

export interface SpireStage {
  readonly lab: LabNode;
  readonly control: ControlChannel;
  readonly agent: SpireAgent;
  readonly admin: LabAdmin;
}

/** The same entries as in Lacre's own server, and of the same selectors. */
export async function createSpireEntries(spire: SpireServer, node: BuiltNode, parentId: string): Promise<void> {
  for (const name of CONTAINERS)
    await spire.createEntry(`spiffe://${TRUST_DOMAIN}/${name}`, parentId, entrySelectors(node, name));
}

export async function observeSpire({ lab, agent, admin }: SpireStage): Promise<SpireObservation> {
  const seen = await observe(lab, admin);
  const refused = await agent.lines('no selectors for process');
  const stopped = await agent.lines('is stopped, and kept');
  const nameOf = (containerId: string | undefined) => CONTAINERS.find((name) => lab.containerId(name) === containerId);
  const refusals = refused.flatMap(({ containerId, msg }) => {
    const name = nameOf(containerId);
    return name === undefined ? [] : [[name, msg.replace(/^no selectors for process \d+: /, '')] as const];
  });
  const stoppedNames = stopped.flatMap(({ containerId }) => nameOf(containerId) ?? []);
  return { ...seen, refusals: new Map(refusals), stopped: new Set(stoppedNames) };
}

/** The two services have proven themselves to each other, and the other two are refused with a reason. */
export function isSettledInSpire(seen: SpireObservation): boolean {
  return isSettled(seen) && seen.refusals.has('rogue') && seen.refusals.has('stranger');
}

/** A container as podman has it. */
export interface ContainerState {
  readonly status: string;
  readonly endedAtUnixMs: number;
}

export interface SpireDrift {
  readonly executedAtUnixMs: number;
  readonly noticedAtUnixMs: number | undefined;
  readonly states: ReadonlyMap<ContainerName, ContainerState>;
  readonly seen: SpireObservation;
}

/** Runs a changed program in `orders`, and watches until the plugin has stopped the container. */
export async function driftInSpire(
  stage: SpireStage,
  node: BuiltNode,
  tell: (seen: SpireObservation) => void,
  signal: AbortSignal,
): Promise<SpireDrift> {
  const { lab, agent, control } = stage;
  const executedAtUnixMs = await runChanged(lab, node);
  const seen = await watch(
    () => observeSpire(stage),
    ({ stopped }) => stopped.has('orders'),
    tell,
    signal,
  );
  const told = await agent.lines('is trusted no more');
  const noticed = told.find(({ containerId }) => containerId === lab.containerId('orders'))?.timestamp;
  return {
    executedAtUnixMs,
    noticedAtUnixMs: noticed === undefined ? undefined : Date.parse(noticed),
    states: await containerStates(control),
    seen,
  };
}

const STATE = '{{.Name}} {{.State.Status}} {{.State.FinishedAt.UnixMilli}}';

/** Of all four, asked by podman. */
async function containerStates(control: ControlChannel): Promise<Map<ContainerName, ContainerState>> {
  const inspect = ['/usr/bin/podman', 'container', 'inspect', '--format', STATE, ...CONTAINERS];
  const { output } = await control.run(inspect);
  const words = output
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  return new Map(
    CONTAINERS.flatMap((name) => {
      const [, status = '', endedAt] = words.find(([first]) => first === name) ?? [];
      return endedAt === undefined ? [] : [[name, { status, endedAtUnixMs: Number(endedAt) }] as const];
    }),
  );
}
