import { setTimeout as delay } from 'node:timers/promises';
import { isLacreError } from '../../lacre-error.ts';
import { LabAdmin } from '../admin.ts';
import { loadImage } from '../image/reference-boot.ts';
import { LabNode, type ServiceLine } from '../lab-node.ts';
import { type NodeReport, nodeReport } from '../lab-report.ts';
import { TRUST_DOMAIN } from '../lab-server.ts';
import { bootStep, type Played, type Stage } from '../play.ts';
import { addNode, approveReferences } from '../scenario.ts';
import { untilAttested } from '../until-attested.ts';
import type { Attack, AttackPlan, Expectation } from './attack.ts';
import type { AttackBuild } from './attack-build.ts';
import { AttackNode, NEIGHBOUR } from './attack-node.ts';
import { type AttackOutcome, judgeAttack } from './attack-outcome.ts';
import { look } from './attack-scene.ts';

const START_TIME_LIMIT_MS = 120_000;
const OUTCOME_TIME_LIMIT_MS = 90_000;
const POLL_MS = 250;

export interface PlayedAttacks extends Played {
  readonly node: NodeReport;
  readonly outcomes: readonly AttackOutcome[];
}

interface Scene {
  readonly node: AttackNode;
  readonly admin: LabAdmin;
  readonly stage: Stage;
  /** By attack: what the node could not do. */
  readonly failures: Map<string, string>;
}

/** Boots the node, and carries out a plan's attacks beside an honest container. */
export async function playAttacks(stage: Stage, build: AttackBuild, plan: AttackPlan): Promise<PlayedAttacks> {
  const { server, progress, signal } = stage;
  const [control, parentId] = await Promise.all([
    bootStep(stage),
    progress.step('approve', 'node into the inventory; reference values of host and image; an entry', () =>
      approve(stage, build),
    ),
  ]);
  const lab = new LabNode(control);
  using admin = new LabAdmin(server.adminSocket);
  const agent = await lab.startAgent(await server.command('bundle', 'show'));
  const node = new AttackNode({ control, lab, build, agentPid: agent.pid, serverLog: server.logPath });
  await Promise.all([
    progress.step('enrol', `the agent starts and enrols as ${parentId}`, () =>
      untilAttested({ admin, agent, log: () => lab.agentLog(), signal }),
    ),
    progress.step(
      'neighbour',
      'loading the image of the attacked service, and starting the honest neighbour',
      async () => {
        await loadImage(control, build.targetArchive);
        await node.start(NEIGHBOUR);
      },
    ),
  ]);
  const scene = { node, admin, stage, failures: new Map<string, string>() };
  await settle(scene, [{ name: NEIGHBOUR, expected: { identity: 'kept' } }], START_TIME_LIMIT_MS);
  const outcomes = await progress.step('attacks', 'attacks', () => performAll(scene, plan));
  const seen = { node: await admin.node(), workloads: new Map(), lines: new Map() };
  const status = outcomes.every(({ faults }) => faults.length === 0) ? 0 : 1;
  return { status, control, agentLog: await lab.agentLog(), node: nodeReport(seen), outcomes };
}

async function approve({ server, built, ekCertificate }: Stage, build: AttackBuild): Promise<string> {
  const parentId = await addNode(server, ekCertificate);
  await approveReferences(server, built);
  await server.command('image', 'approve', build.targetArchive);
  const selectors = [
    `lacre:image:${build.targetDigest}`,
    ...['lacre:attribution:exact', 'lacre:config:image', 'lacre:host:standard', 'lacre:root:software'],
  ].flatMap((selector) => ['--selector', selector]);
  const id = `spiffe://${TRUST_DOMAIN}/target`;
  await server.command('entry', 'create', '--spiffe-id', id, '--parent-id', parentId, ...selectors);
  return parentId;
}

async function performAll(scene: Scene, plan: AttackPlan): Promise<AttackOutcome[]> {
  const outcomes: AttackOutcome[] = [];
  const perform = async (group: readonly Attack[]) => {
    const found = await performGroup(scene, group);
    for (const outcome of found) scene.stage.progress.say(sentenceOf(outcome));
    outcomes.push(...found);
  };
  for (const attack of plan.first) {
    await startAll(scene, [attack]);
    await perform([attack]);
  }
  await startAll(scene, plan.beside.flat());
  for (const group of plan.beside) await perform(group);
  for (const attack of plan.last) {
    await startAll(scene, [attack]);
    await perform([attack]);
  }
  return outcomes;
}

/** Two at a time: as many as there are processors. */
async function startAll(scene: Scene, attacks: readonly Attack[]): Promise<void> {
  const { node } = scene;
  const waiting = attacks.filter(({ expected }) => expected.identity !== undefined);
  const started = waiting.map(({ name, expected }) => ({
    name,
    expected: { identity: expected.identity === 'never' ? ('never' as const) : ('kept' as const) },
  }));
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { name, before, container } = next;
      await noting(scene, name, async () => {
        await before?.(node);
        await node.start(name, container);
      });
    }
  };
  await Promise.all([worker(), worker()]);
  for (const { faults } of await settle(scene, started, START_TIME_LIMIT_MS))
    for (const fault of faults) scene.stage.progress.say(`before the attack: ${fault}`);
}

/** All of a group act at once, and are then watched together. */
async function performGroup(scene: Scene, group: readonly Attack[]): Promise<AttackOutcome[]> {
  const { node, stage } = scene;
  const acted = await Promise.all(
    group.map(async (attack): Promise<Watched> => {
      const { name } = attack;
      const expected = attack.byKernel?.[stage.built.kernelSeries] ?? attack.expected;
      const startedAt = performance.now();
      const said = await noting(scene, name, async () => attack.host?.(node));
      if (attack.orders !== undefined) await node.order(name, attack.orders);
      return { name, expected, said, startedAt };
    }),
  );
  return settle(scene, acted, OUTCOME_TIME_LIMIT_MS);
}

/** A command that fails in the node is a fault of its attack, and stops no other one. */
async function noting<T>({ stage, failures }: Scene, name: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isLacreError(error, 'lab.node.command')) throw error;
    stage.progress.say(error.message);
    failures.set(name, `${name}: ${error.message}`);
    return undefined;
  }
}

/** What is waited for, of one container or of the host. */
interface Watched {
  readonly name: string;
  readonly expected: Partial<Expectation>;
  /** What the host's attack printed. */
  readonly said?: string | undefined;
  readonly startedAt?: number;
}

/** Looks until everything is as expected of all, or the time is over: then with what is not. */
async function settle(scene: Scene, all: readonly Watched[], timeLimitMs: number): Promise<AttackOutcome[]> {
  const { node, admin, stage, failures } = scene;
  const startedAt = performance.now();
  const done = new Map<string, AttackOutcome>();
  for (;;) {
    const open = all.filter(({ name }) => !isOver(done.get(name), failures.get(name)));
    const see = await look(node, admin);
    for (const { name, expected, said, startedAt: actedAt = startedAt } of open) {
      const { errno, lines } = factsOf(said);
      const ms = Math.round(performance.now() - actedAt);
      const outcome = judgeAttack(name, expected, await see(name, lines), { errno, ms });
      const failure = failures.get(name);
      done.set(name, failure === undefined ? outcome : { ...outcome, faults: [failure, ...outcome.faults] });
    }
    const outcomes = [...done.values()];
    const isOverOf = (outcome: AttackOutcome) => isOver(outcome, failures.get(outcome.name));
    if (outcomes.every(isOverOf) || performance.now() - startedAt > timeLimitMs) return outcomes;
    await delay(POLL_MS, undefined, { signal: stage.signal });
  }
}

/** Nothing more is waited for: all is as expected, or can't become so. */
function isOver(outcome: AttackOutcome | undefined, failure: string | undefined): boolean {
  return outcome !== undefined && (failure !== undefined || outcome.faults.length === 0);
}

/** What the host's attack printed: an errno, or the lines of a program of the container's. */
function factsOf(said: string | undefined): { errno: number | undefined; lines: ServiceLine[] } {
  const lines = [...(said ?? '').matchAll(/^\{.*\}$/gm)].map(([line]) => JSON.parse(line) as ServiceLine);
  return { errno: /^\d+\s*$/.test(said ?? '') ? Number(said) : undefined, lines };
}

function sentenceOf({ name, identity, code, errno, asked, neighbour, faults }: AttackOutcome): string {
  const what = [identity, code, asked && `asked: ${asked}`, errno !== null && `errno ${errno}`].filter(Boolean);
  const sentence = `${name}: ${what.join(', ')}; neighbour ${neighbour}`;
  return faults.length === 0 ? sentence : `${sentence}; not as expected: ${faults.join('; ')}`;
}
