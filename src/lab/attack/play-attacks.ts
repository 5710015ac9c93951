import { isLacreError } from '../../lacre-error.ts';
import { LabAdmin } from '../admin.ts';
import { loadImage } from '../image/reference-boot.ts';
import { LabNode } from '../lab-node.ts';
import { type NodeReport, nodeReport } from '../lab-report.ts';
import { TRUST_DOMAIN } from '../lab-server.ts';
import { bootStep, type Played, type Stage } from '../play.ts';
import { addNode, approveReferences } from '../scenario.ts';
import { untilAttested } from '../until-attested.ts';
import type { Attack, AttackPlan } from './attack.ts';
import type { AttackBuild } from './attack-build.ts';
import { AttackNode, NEIGHBOUR } from './attack-node.ts';
import type { AttackOutcome } from './attack-outcome.ts';
import { type Scene, settle, type Watched } from './settle.ts';

const START_TIME_LIMIT_MS = 240_000;
const OUTCOME_TIME_LIMIT_MS = 180_000;
/** Longer than a boot lasts: dozens of containers that renew their SVIDs would leave the attackers no processor. */
const SVID_TTL_SECONDS = '3600';

export interface PlayedAttacks extends Played {
  readonly node: NodeReport;
  readonly outcomes: readonly AttackOutcome[];
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
  const node = new AttackNode({ control, lab, build, agentPid: agent.pid });
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
  const life = ['--x509-svid-ttl', SVID_TTL_SECONDS];
  await server.command('entry', 'create', '--spiffe-id', id, '--parent-id', parentId, ...life, ...selectors);
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
        scene.stage.progress.say(`started: ${name}`);
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
      const said = await noting(scene, name, async () => {
        if (scene.failures.has(name)) return undefined;
        const printed = await attack.host?.(node);
        if (attack.orders !== undefined) await node.order(name, attack.orders);
        return printed;
      });
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

function sentenceOf({ name, identity, code, errno, asked, neighbour, faults }: AttackOutcome): string {
  const what = [identity, code, asked && `asked: ${asked}`, errno !== null && `errno ${errno}`].filter(Boolean);
  const sentence = `${name}: ${what.join(', ')}; neighbour ${neighbour}`;
  return faults.length === 0 ? sentence : `${sentence}; not as expected: ${faults.join('; ')}`;
}
