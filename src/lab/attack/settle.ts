import { setTimeout as delay } from 'node:timers/promises';
import type { LabAdmin } from '../admin.ts';
import type { ServiceLine } from '../lab-node.ts';
import type { Stage } from '../play.ts';
import type { Expectation } from './attack.ts';
import type { AttackNode } from './attack-node.ts';
import { type AttackOutcome, judgeAttack } from './attack-outcome.ts';
import { look } from './attack-scene.ts';

const POLL_MS = 250;
/** Time between two words on what is still waited for. */
const TELL_MS = 15_000;
const TOLD_MOST = 3;

/** What the parts of one boot share. */
export interface Scene {
  readonly node: AttackNode;
  readonly admin: LabAdmin;
  readonly stage: Stage;
  /** By attack: what the node could not do. */
  readonly failures: Map<string, string>;
}

/** What is waited for, of one container or of the host. */
export interface Watched {
  readonly name: string;
  readonly expected: Partial<Expectation>;
  /** What the host's attack printed. */
  readonly said?: string | undefined;
  readonly startedAt?: number;
}

/** Looks until everything is as expected of all, or the time is over: then with what is not. */
export async function settle(scene: Scene, all: readonly Watched[], timeLimitMs: number): Promise<AttackOutcome[]> {
  const { stage } = scene;
  const startedAt = performance.now();
  const done = new Map<string, AttackOutcome>();
  let toldAt = startedAt;
  for (;;) {
    await lookOnce(scene, all, done, startedAt);
    const outcomes = [...done.values()];
    const open = outcomes.filter((outcome) => !isOver(scene, outcome));
    const now = performance.now();
    if (open.length === 0 || now - startedAt > timeLimitMs) return outcomes;
    if (now - toldAt > TELL_MS) {
      stage.progress.say(waitingFor(open));
      toldAt = now;
    }
    await delay(POLL_MS, undefined, { signal: stage.signal });
  }
}

async function lookOnce(
  scene: Scene,
  all: readonly Watched[],
  done: Map<string, AttackOutcome>,
  startedAt: number,
): Promise<void> {
  const { node, admin, failures } = scene;
  const see = await look(node, admin);
  for (const { name, expected, said, startedAt: actedAt = startedAt } of all) {
    if (isOver(scene, done.get(name))) continue;
    const { errno, lines } = factsOf(said);
    const ms = Math.round(performance.now() - actedAt);
    const outcome = judgeAttack(name, expected, await see(name, lines), { errno, ms });
    const failure = failures.get(name);
    done.set(name, failure === undefined ? outcome : { ...outcome, faults: [failure, ...outcome.faults] });
  }
}

/** Nothing more is waited for: all is as expected, or can't become so. */
function isOver({ failures }: Scene, outcome: AttackOutcome | undefined): boolean {
  return outcome !== undefined && (failures.has(outcome.name) || outcome.faults.length === 0);
}

/** What the host's attack printed: an errno, or the lines of a program of the container's. */
function factsOf(said: string | undefined): { errno: number | undefined; lines: ServiceLine[] } {
  const lines = [...(said ?? '').matchAll(/^\{.*\}$/gm)].map(([line]) => JSON.parse(line) as ServiceLine);
  return { errno: /^\d+\s*$/.test(said ?? '') ? Number(said) : undefined, lines };
}

function waitingFor(open: readonly AttackOutcome[]): string {
  const faults = open.slice(0, TOLD_MOST).flatMap(({ faults: [first] }) => first ?? []);
  return `waiting for ${open.length}: ${faults.join('; ')}`;
}
